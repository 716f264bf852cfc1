// Generates docs/tuning.md from the checks of `heddle tune`.
import { writeFileSync } from 'node:fs';
import { tuningDocument } from '@heddle/tune/document';
import { root } from './files.ts';

/** Returns the generated texts by their path in the repository. */
export function tuningFiles(): Map<string, string> {
  return new Map([['docs/tuning.md', tuningDocument()]]);
}

if (import.meta.main) {
  for (const [file, text] of tuningFiles()) {
    writeFileSync(root + file, text);
    console.log(file);
  }
}
