// Texts of the page: placeholders such as {count} get their values.

/** A text in parts: strings and, for its placeholders, the values, which may be elements. */
const fillParts = (text, values) => text.split(/\{(\w+)\}/).map((part, index) => (index % 2 ? values[part] : part));

const fill = (text, values) => fillParts(text, values).join("");
const formatNumber = (number) => number.toLocaleString("en");

/** One of two texts with a number, for one and for many. */
const count = (one, many, number) => fill(number === 1 ? one : many, { count: formatNumber(number) });
