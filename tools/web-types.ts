// Checks the types of the web page: of its components, which become TypeScript below dist/web-types, and of
// the modules that run in the browser.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { typesOfComponent } from '@heddle/web/component-types';
import { projectFiles, root } from './files.ts';

const sources = 'packages/web/src/';
const target = 'dist/web-types/';
rmSync(root + target, { recursive: true, force: true });
const lines = new Map<string, readonly number[]>();
for (const file of projectFiles('.svelte')) {
  const written = `${target}${file.slice(sources.length)}.ts`;
  const { code, lines: of } = typesOfComponent(readFileSync(root + file, 'utf8'));
  mkdirSync(dirname(root + written), { recursive: true });
  writeFileSync(root + written, code);
  lines.set(written, of);
}
const { status, stdout, stderr } = spawnSync(
  `${root}node_modules/.bin/tsc`,
  ['-p', 'tsconfig.web.json', '--pretty', 'false'],
  { cwd: root, encoding: 'utf8' },
);
const place = new RegExp(`${target}(\\S+)\\.ts\\((\\d+),\\d+\\)`, 'g');
const text = stdout.replace(place, (_, file: string, line: string) => {
  const from = lines.get(`${target}${file}.ts`)?.[Number(line) - 1] ?? 1;
  return `${sources}${file}:${from}`;
});
process.stdout.write(text);
process.stderr.write(stderr);
process.exitCode = status ?? 1;
