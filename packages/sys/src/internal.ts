// These exports serve the other packages of Heddle, in exactly the same version. They are not stable.
export { ownText, trimBlanks, withoutCredentials } from './text.ts';
