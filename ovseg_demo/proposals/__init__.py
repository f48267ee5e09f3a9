"""Stage 1: class-agnostic mask proposals. A generator is one module or one package here."""
