import { nearest } from './nearest.ts';
import { type FilterKey, filterKeys, isAddress, type WordError } from './values.ts';
import { type RawWord, splitWords, wordText } from './words.ts';

/** A word of a filter. */
export interface FilterWord extends RawWord {
  /** The key, or undefined for a word that looks in names and for an unknown key. */
  readonly known: FilterKey | undefined;
  /** Present if the word cannot be used. */
  readonly error?: WordError;
}

/** A filter that was read. It can be used if no word has an error. */
export interface Filter {
  readonly text: string;
  readonly words: readonly FilterWord[];
}

/** Filters of more words are refused. */
const wordsMax = 64;
/** Longer filters are refused, in characters. */
const lengthMax = 4000;
const keysByName = new Map(filterKeys.map((key) => [key.name, key]));

/** Reads a filter. Every text can be read; words that cannot be used have an error. */
export function parseFilter(text: string): Filter {
  const words = splitWords(text.slice(0, lengthMax));
  return {
    text,
    words: words.map((word, index) => {
      const known = keysByName.get(word.key);
      const error = errorOf(word, known, index, text.length);
      return { ...word, known, ...(error ? { error } : {}) };
    }),
  };
}

/** Returns the index of the first word that cannot be used, or -1. */
export function firstError({ words }: Filter): number {
  return words.findIndex(({ error }) => error !== undefined);
}

function errorOf(
  word: RawWord,
  known: FilterKey | undefined,
  index: number,
  length: number,
): WordError | undefined {
  if (index >= wordsMax) return { text: `A filter has at most ${wordsMax} words.` };
  if (length > lengthMax) return { text: `A filter has at most ${lengthMax} characters.` };
  if (!word.isClosed) return { text: 'The closing quotation mark is missing.' };
  if (word.key === '') {
    return word.value === '' ? { text: 'The word is empty.' } : undefined;
  }
  if (!known) return unknownKey(word);
  if (word.value === '') return { text: `${word.key} wants ${known.values}.` };
  const error = known.check(word.value);
  return error && withSign(error, word);
}

function unknownKey(word: RawWord): WordError {
  const text = `There is no key "${word.key}".`;
  const whole = `${word.key}:${word.value}`;
  if (isAddress(whole)) return withSign({ text, suggestion: wordText('with', whole) }, word);
  const near = nearest(word.key, keysByName.keys());
  return near === undefined
    ? { text }
    : withSign({ text, suggestion: wordText(near, word.value) }, word);
}

/** Returns the error with a suggestion that excludes if the word does. */
function withSign(error: WordError, { isExcluded }: RawWord): WordError {
  const { suggestion } = error;
  return suggestion === undefined || !isExcluded
    ? error
    : { ...error, suggestion: `-${suggestion}` };
}

/** Returns the keys that begin with a text, for completion. */
export function keysWith(prefix: string): readonly FilterKey[] {
  return filterKeys.filter(({ name }) => name.startsWith(prefix));
}

/** Returns the word that the cursor at `at` is in or at the end of, for completion. */
export function wordAt({ words }: Filter, at: number): FilterWord | undefined {
  return words.find(({ start, end }) => start <= at && at <= end);
}
