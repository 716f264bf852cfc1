/** The name of the token in the storage of the tab. The token is never in the URL and in no storage that other tabs share. */
const storageKey = 'heddle.token';

/** Returns true for a text that can be a bearer token: visible ASCII characters, 8192 at most. */
export function isToken(text: string): boolean {
  return /^[\x21-\x7e]{1,8192}$/.test(text);
}

/** Returns the token that this tab keeps. */
export function readToken(): string | undefined {
  const stored = sessionStorage.getItem(storageKey);
  return stored !== null && isToken(stored) ? stored : undefined;
}

/** Keeps a token until the tab is closed or the token is forgotten. */
export function keepToken(token: string): void {
  sessionStorage.setItem(storageKey, token);
}

/** Removes the token that this tab keeps. */
export function forgetToken(): void {
  sessionStorage.removeItem(storageKey);
}
