// Imports only point down, and the portable core has no door but Platform. Prints each offence.
import { readFileSync } from 'node:fs';
import { corePackages, isPureTest, packageOf, projectFiles, root } from './files.ts';

/** What each package may import of the others. */
const below: Readonly<Record<string, readonly string[]>> = {
  sys: [],
  ebpf: ['sys'],
  netlink: ['sys'],
  state: ['sys'],
  model: ['sys'],
  kube: ['sys', 'state'],
  vm: ['sys', 'ebpf'],
  datapath: ['sys', 'ebpf', 'netlink', 'state', 'model'],
  agent: ['sys', 'ebpf', 'netlink', 'state', 'model', 'kube', 'datapath'],
  lab: ['sys', 'netlink'],
  assets: ['datapath'],
  control: ['sys', 'agent'],
  inspect: ['sys', 'ebpf', 'netlink', 'vm', 'datapath', 'agent', 'lab', 'assets', 'control'],
  simulate: ['sys', 'ebpf', 'state', 'model', 'vm', 'datapath', 'agent', 'assets', 'control'],
  deploy: ['sys', 'netlink', 'agent'],
  cli: [
    ...['sys', 'ebpf', 'netlink', 'model', 'vm', 'datapath', 'agent', 'lab'],
    ...['assets', 'control', 'inspect', 'simulate', 'deploy'],
  ],
  demo: ['sys', 'vm', 'agent', 'lab', 'assets', 'control', 'cli'],
  e2e: [],
};

/** Packages from outside that the core may use: pure JavaScript, no platform of their own. */
const coreLibraries = new Set(['valibot', 'yaml']);
const pureTestLibraries = new Set(['node:test', 'node:assert/strict', 'fast-check']);

const imports =
  /^(?:import|export)\b[^;'"`]*from\s*['"]([^'"]+)['"]|^import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/gm;

function offences(file: string): string[] {
  const own = packageOf(file);
  if (!own) return [];
  const isTest = /\.test\.ts$/.test(file) || /\/(testing|examples|testdata)\//.test(file);
  const isCore =
    (corePackages as readonly string[]).includes(own) && !file.includes('/sys/src/node/');
  const found: string[] = [];
  for (const match of readFileSync(root + file, 'utf8').matchAll(imports)) {
    const target = match[1] ?? match[2] ?? match[3]!;
    const offend = (why: string) => found.push(`${file}: imports ${target}: ${why}`);
    if (target.startsWith('.')) {
      if (target.includes('/packages/')) offend('use the package name');
      continue;
    }
    const sibling = /^@heddle\/([^/]+)/.exec(target)?.[1];
    if (sibling) {
      // Tests that need the kernel may build their world with the lab.
      if (!isTest && sibling !== own && !below[own]!.includes(sibling)) {
        offend(`${own} stands below ${sibling}`);
      }
      if (target === '@heddle/sys/node' && isCore && !isTest) offend('the core takes a Platform');
    } else if (isPureTest(file)) {
      if (isCore && !pureTestLibraries.has(target)) offend('a pure test runs in QuickJS too');
    } else if (isCore && !isTest && !coreLibraries.has(target)) {
      offend('the portable core uses ES2023 and Platform only');
    }
  }
  return found;
}

const all = projectFiles('.ts')
  .filter((file) => !file.includes('/generated/'))
  .flatMap(offences);
for (const line of all) console.error(line);
process.exitCode = all.length > 0 ? 1 : 0;
