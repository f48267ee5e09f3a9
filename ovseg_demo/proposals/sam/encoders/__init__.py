"""Image encoders of Segment Anything: one module for each kind, listed in :mod:`.registry`.

To add a kind:

1. write a module with a subclass of :class:`.base.EncoderConfig` (recognizes the kind by its tensor names,
   reads every size off the tensors, builds the network) and one of :class:`.base.ImageEncoder` (the network);
2. add the configuration to :data:`.registry.ENCODERS`.

Prompt encoder, mask decoder, prompt grid and mask filters are the same for all kinds.
"""
