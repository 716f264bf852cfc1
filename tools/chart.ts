// Writes the Helm chart from the same function as `heddle manifests`.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { version } from '@heddle/assets';
import { chartFiles } from '@heddle/deploy';
import { root } from './files.ts';

const folder = 'deploy/helm/heddle';

/** The files of the chart, by their path in the repository. */
export function chart(): Map<string, string> {
  const files = [...chartFiles(version())];
  return new Map(files.map(([path, text]) => [`${folder}/${path}`, text]));
}

if (import.meta.main) {
  for (const [file, text] of chart()) {
    mkdirSync(dirname(root + file), { recursive: true });
    writeFileSync(root + file, text);
    console.log(file);
  }
}
