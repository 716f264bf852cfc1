// The messages of Hubble's API, from `.proto` text to JavaScript and its types. The compilers come from
// the npm registry when the text has changed and `npm run generate` runs, in exactly these versions;
// they are no dependencies, because together they are larger than everything else that is installed.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { projectFiles, root, sha256 } from './files.ts';

const compilers = ['@bufbuild/buf@1.75.0', '@bufbuild/protoc-gen-es@2.17.0'];
const sources = 'packages/hubble/proto';
const results = 'packages/hubble/src/generated';
const record = `${results}/sources.json`;

/** Returns the hashes of the sources, of the results, and the versions of the compilers. */
function current(): Record<string, string> {
  const files = projectFiles('.proto', '_pb.js', '_pb.d.ts').filter(
    (file) => file.startsWith(`${sources}/`) || file.startsWith(`${results}/`),
  );
  return {
    compilers: compilers.join(' '),
    ...Object.fromEntries(files.map((file) => [file, sha256(file)])),
  };
}

/** Returns the files that have changed since the messages were compiled. */
export function staleMessages(): string[] {
  const recorded = existsSync(root + record) ? JSON.parse(readFileSync(root + record, 'utf8')) : {};
  const now = current();
  const files = new Set([...Object.keys(recorded), ...Object.keys(now)]);
  return [...files].filter((file) => recorded[file] !== now[file]);
}

/** Compiles the messages, if anything has changed. */
export function generateMessages(): void {
  if (staleMessages().length === 0) return;
  const template = {
    version: 'v2',
    inputs: [{ directory: sources }],
    plugins: [
      { local: 'protoc-gen-es', out: results, opt: ['target=js+dts', 'import_extension=js'] },
    ],
  };
  rmSync(root + results, { recursive: true, force: true });
  execFileSync(
    'npx',
    [
      '--yes',
      ...compilers.flatMap((name) => ['--package', name]),
      ...['--', 'buf', 'generate', '--template', JSON.stringify(template)],
    ],
    { cwd: root, stdio: 'inherit' },
  );
  writeFileSync(root + record, `${JSON.stringify(current(), null, 2)}\n`);
  console.log(results);
}
