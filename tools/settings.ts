// Generates the Helm chart and docs/settings.md from the settings. The chart comes from the same
// function as `heddle manifests`.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { version } from '@heddle/assets';
import { chartFiles, settingsDocument } from '@heddle/deploy';
import { root } from './files.ts';

/** Everything in this folder is generated. */
export const chartFolder = 'deploy/helm/heddle/';

/** Returns the generated texts by their path in the repository. */
export function settingsFiles(): Map<string, string> {
  const chart = [...chartFiles(version())].map(([path, text]): [string, string] => [
    `${chartFolder}${path}`,
    text,
  ]);
  return new Map([...chart, ['docs/settings.md', settingsDocument()]]);
}

if (import.meta.main) {
  for (const [file, text] of settingsFiles()) {
    mkdirSync(dirname(root + file), { recursive: true });
    writeFileSync(root + file, text);
    console.log(file);
  }
}
