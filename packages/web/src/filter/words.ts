/** A piece of a filter's text: `key:value`, `-key:value`, or a value without a key. */
export interface RawWord {
  /** The piece as it is written, and its place in the text. */
  readonly text: string;
  readonly start: number;
  readonly end: number;
  readonly isExcluded: boolean;
  /** The text before the first colon; empty without one. */
  readonly key: string;
  /** The value without quotes. */
  readonly value: string;
  /** False if the closing quote is missing. */
  readonly isClosed: boolean;
}

const blank = /\s/;
const keyPattern = /^[a-z]+(-[a-z]+)*$/;

/** Splits a filter at blanks that are not in quotes. Any text can be split. */
export function splitWords(text: string): RawWord[] {
  const words: RawWord[] = [];
  for (let at = 0; at < text.length; ) {
    if (blank.test(text[at]!)) {
      at++;
      continue;
    }
    const word = readWord(text, at);
    words.push(word);
    at = word.end;
  }
  return words;
}

function readWord(text: string, start: number): RawWord {
  const isExcluded =
    text[start] === '-' && start + 1 < text.length && !blank.test(text[start + 1]!);
  let at = isExcluded ? start + 1 : start;
  let [key, value, hasKey] = ['', '', false];
  for (; at < text.length && !blank.test(text[at]!); at++) {
    const character = text[at]!;
    if (character === '"') {
      const quoted = readQuoted(text, at);
      value += quoted.value;
      if (!quoted.isClosed) {
        const rest = { text: text.slice(start), start, end: text.length };
        return { ...rest, isExcluded, key, value, isClosed: false };
      }
      at = quoted.end - 1;
    } else if (character === ':' && !hasKey && keyPattern.test(value)) {
      [key, value, hasKey] = [value, '', true];
    } else {
      value += character;
    }
  }
  return { text: text.slice(start, at), start, end: at, isExcluded, key, value, isClosed: true };
}

/** Reads a quoted text from its opening quote on; a backslash takes the next character as it is. */
function readQuoted(text: string, start: number) {
  let value = '';
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === '"') return { value, end: at + 1, isClosed: true };
    if (text[at] === '\\' && at + 1 < text.length) at++;
    value += text[at];
  }
  return { value, end: text.length, isClosed: false };
}

/** Returns a word that `splitWords` reads as this key and value. `key` is empty for a word without a key. */
export function wordText(key: string, value: string): string {
  const isPlain = value !== '' && !/[\s"\\]/.test(value) && !(key === '' && /^-|:/.test(value));
  const written = isPlain ? value : `"${value.replace(/["\\]/g, '\\$&')}"`;
  return key === '' ? written : `${key}:${written}`;
}

/** Returns the filter with this word at its end; a filter that has the word stays as it is. */
export function withWord(text: string, word: string): string {
  const isThere = splitWords(text).some((each) => each.text === word);
  return isThere ? text : [text.trim(), word].filter((part) => part !== '').join(' ');
}

/** Returns the filter without the word with this index. */
export function withoutWord(text: string, index: number): string {
  return replaceWord(text, index, '');
}

/** Returns the filter with another word in the place of the one with this index. */
export function replaceWord(text: string, index: number, word: string): string {
  const words = splitWords(text).map((each, at) => (at === index ? word : each.text));
  return words.filter((each) => each !== '').join(' ');
}
