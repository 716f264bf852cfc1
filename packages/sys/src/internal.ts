// What other packages of Heddle use, in exactly the same version. It is not stable.
export { trimBlanks, withoutCredentials } from './text.ts';
