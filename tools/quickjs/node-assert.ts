// The functions of node:assert/strict that the pure tests use, for QuickJS.
class AssertionError extends Error {}

function show(value: unknown): string {
  try {
    return (
      JSON.stringify(value, (_, inner) => (typeof inner === 'bigint' ? `${inner}n` : inner)) ??
      String(value)
    );
  } catch {
    return String(value);
  }
}

function fail(message: unknown, otherwise = 'failed'): never {
  if (message instanceof Error) throw message;
  throw new AssertionError(typeof message === 'string' ? message : otherwise);
}

function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  if (a instanceof Map && b instanceof Map) {
    return (
      a.size === b.size && [...a].every(([key, value]) => b.has(key) && same(value, b.get(key)))
    );
  }
  if (a instanceof Set && b instanceof Set) {
    return (
      a.size === b.size &&
      [...a].every((value) => b.has(value) || [...b].some((other) => same(value, other)))
    );
  }
  if (a instanceof Error && b instanceof Error && a.message !== b.message) return false;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && same((a as never)[key], (b as never)[key]))
  );
}

function matches(error: unknown, expected: unknown): boolean {
  if (expected === undefined || typeof expected === 'string') return true;
  if (expected instanceof RegExp) return expected.test(String(error));
  if (typeof expected === 'function') {
    const isClass = expected === Error || expected.prototype instanceof Error;
    return isClass ? error instanceof expected : expected(error) === true;
  }
  return Object.entries(expected as object).every(([key, value]) => {
    const actual = (error as Record<string, unknown>)[key];
    return value instanceof RegExp ? value.test(String(actual)) : same(actual, value);
  });
}

function assert(value: unknown, message?: unknown): void {
  if (!value) fail(message, `expected a truthy value, got ${show(value)}`);
}

const equal = (a: unknown, b: unknown, message?: unknown) => {
  if (!Object.is(a, b)) fail(message, `${show(a)} is not ${show(b)}`);
};
const notEqual = (a: unknown, b: unknown, message?: unknown) => {
  if (Object.is(a, b)) fail(message, `${show(a)} is not to be ${show(b)}`);
};
const deepEqual = (a: unknown, b: unknown, message?: unknown) => {
  if (!same(a, b)) fail(message, `${show(a)} does not equal ${show(b)}`);
};
const notDeepEqual = (a: unknown, b: unknown, message?: unknown) => {
  if (same(a, b)) fail(message, `${show(a)} equals ${show(b)}`);
};
const throws = (body: () => unknown, expected?: unknown, message?: unknown) => {
  try {
    body();
  } catch (error) {
    if (!matches(error, expected)) throw error;
    return;
  }
  fail(message, 'nothing was thrown');
};
const rejects = async (body: Promise<unknown> | (() => Promise<unknown>), expected?: unknown) => {
  try {
    await (typeof body === 'function' ? body() : body);
  } catch (error) {
    if (!matches(error, expected)) throw error;
    return;
  }
  fail(undefined, 'nothing was rejected');
};
const match = (text: string, pattern: RegExp, message?: unknown) => {
  if (!pattern.test(text)) fail(message, `${show(text)} does not match ${pattern}`);
};
const doesNotMatch = (text: string, pattern: RegExp, message?: unknown) => {
  if (pattern.test(text)) fail(message, `${show(text)} matches ${pattern}`);
};
const doesNotThrow = (body: () => unknown) => void body();

export default Object.assign(assert, {
  AssertionError,
  ok: assert,
  equal,
  strictEqual: equal,
  notEqual,
  notStrictEqual: notEqual,
  deepEqual,
  deepStrictEqual: deepEqual,
  notDeepEqual,
  throws,
  doesNotThrow,
  rejects,
  match,
  doesNotMatch,
  fail: (message?: unknown) => fail(message),
});
export { assert as ok, deepEqual, equal, match, notEqual, rejects, throws };
