import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Folder of the repository, with a closing slash. */
export const root = fileURLToPath(new URL('..', import.meta.url));

/** Files that git knows or would take, relative to the root, that end so and still exist. */
export function projectFiles(...endings: string[]): string[] {
  const listed = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
  });
  return listed
    .split('\n')
    .filter((file) => endings.some((ending) => file.endsWith(ending)))
    .filter((file) => existsSync(root + file))
    .sort();
}

/** Hex SHA-256 of a file's bytes. */
export function sha256(file: string): string {
  return createHash('sha256')
    .update(readFileSync(root + file))
    .digest('hex');
}

/** Packages of the portable core, as DESIGN names them. */
export const corePackages = [
  'sys',
  'ebpf',
  'netlink',
  'podnet',
  'state',
  'rpc',
  'objects',
  'kube',
  'services',
  'vm',
  'datapath',
  'agent',
] as const;

/** Tests that need neither Node.js nor the kernel. */
export function isPureTest(file: string): boolean {
  return /\.test\.ts$/.test(file) && !/\.(node|kernel)\.test\.ts$/.test(file);
}

/** The package that a file belongs to, or undefined. */
export function packageOf(file: string): string | undefined {
  return /^packages\/([^/]+)\//.exec(file)?.[1];
}
