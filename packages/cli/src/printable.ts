/**
 * Characters that make a terminal do something instead of showing them: control characters (C0 but the tab,
 * DEL, C1), separators of lines, and those that turn the direction of text round.
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: those are what this is about.
const unsafe = /[\0-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;
/** The sequences that `styled` writes around a text: colours and boldness, which can hide nothing. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these begin with one.
const style = /(\x1b\[(?:1|2|22|3[1-6]|39)m|\n)/;

/**
 * One line that is safe to show on a terminal: what is unsafe is shown as in JSON, `\u001b`. Names, messages
 * and manifests come from others.
 */
export function printable(text: string): string {
  return text.replace(unsafe, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

/** Lines that are safe to show, with the styles in them. JSON stays JSON and says the same. */
export function printableLines(text: string): string {
  return text
    .split(style)
    .map((part, i) => (i % 2 === 1 ? part : printable(part)))
    .join('');
}
