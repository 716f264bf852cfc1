import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The folder of the repository, with a trailing slash. */
export const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * Returns the files with these endings that git tracks or does not ignore, relative to the root.
 */
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

/** Returns the SHA-256 of a file in hexadecimal. */
export function sha256(file: string): string {
  return createHash('sha256')
    .update(readFileSync(root + file))
    .digest('hex');
}

/** The packages of the portable core. */
export const corePackages = [
  'sys',
  'ebpf',
  'netlink',
  'ipam',
  'podnet',
  'state',
  'rpc',
  'objects',
  'kube',
  'services',
  'policy',
  'vm',
  'datapath',
  'agent',
] as const;

/** Returns true for tests that need neither Node.js nor the kernel. */
export function isPureTest(file: string): boolean {
  return /\.test\.ts$/.test(file) && !/\.(node|kernel)\.test\.ts$/.test(file);
}

/** Returns the package that a file belongs to, or undefined. */
export function packageOf(file: string): string | undefined {
  return /^packages\/([^/]+)\//.exec(file)?.[1];
}
