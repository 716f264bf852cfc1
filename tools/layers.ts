// Checks that imports only point down, that packages are used through what they export, that no files
// import each other in a circle, and that the portable core needs nothing but Platform. Prints each
// offence.
import { readFileSync } from 'node:fs';
import { corePackages, projectFiles, root } from './files.ts';
import { findOffences, type Layer } from './layers/rules.ts';

/** The allowed imports of each package, bench and tools, from the bottom up. */
const layers: Readonly<Record<string, Layer>> = {
  sys: { imports: [] },
  ebpf: { imports: ['sys'], tests: ['netlink'] },
  netlink: { imports: ['sys'] },
  state: { imports: ['sys'] },
  rpc: { imports: ['sys', 'state'] },
  objects: { imports: ['sys'] },
  kube: { imports: ['sys', 'state'] },
  services: { imports: ['sys', 'objects'] },
  routes: { imports: ['sys', 'objects'] },
  policy: { imports: ['sys', 'objects'] },
  'policy-tools': { imports: ['objects', 'policy'] },
  vm: { imports: ['sys', 'ebpf'], tests: ['netlink'] },
  ipam: { imports: ['sys'] },
  podnet: { imports: ['sys', 'netlink'] },
  lab: { imports: ['sys', 'netlink', 'podnet'] },
  datapath: {
    imports: ['sys', 'ebpf', 'netlink', 'state', 'objects', 'services', 'routes', 'policy'],
    tests: ['vm', 'lab'],
  },
  agent: {
    imports: [
      ...['sys', 'ebpf', 'netlink', 'state', 'rpc', 'objects', 'services', 'routes', 'kube'],
      ...['policy', 'policy-tools', 'ipam', 'podnet', 'datapath'],
    ],
    tests: ['lab'],
  },
  assets: { imports: ['datapath'], tests: ['sys', 'netlink'] },
  control: { imports: ['sys', 'rpc', 'agent'] },
  inspect: {
    imports: [
      ...['sys', 'ebpf', 'netlink', 'vm', 'lab'],
      ...['datapath', 'agent', 'assets', 'control'],
    ],
  },
  hubble: { imports: ['sys', 'ebpf', 'datapath', 'agent', 'control'] },
  web: { imports: ['sys', 'hubble'] },
  relay: {
    imports: ['sys', 'kube', 'objects', 'policy', 'policy-tools', 'control', 'hubble', 'web'],
  },
  simulate: {
    imports: [
      ...['sys', 'ebpf', 'state', 'objects', 'services', 'vm'],
      ...['datapath', 'agent', 'assets', 'control'],
    ],
  },
  tune: { imports: ['sys', 'netlink', 'agent'] },
  deploy: { imports: ['sys', 'netlink', 'agent'], tests: ['assets'] },
  cli: {
    imports: [
      ...['sys', 'netlink', 'objects', 'services', 'policy', 'policy-tools', 'lab', 'datapath'],
      ...['agent', 'assets', 'control', 'inspect', 'hubble', 'web', 'relay'],
      ...['simulate', 'tune', 'deploy'],
    ],
  },
  demo: {
    imports: ['sys', 'vm', 'lab', 'agent', 'assets', 'control', 'relay', 'cli'],
    tests: ['ebpf', 'web'],
  },
  e2e: {
    imports: [],
    tests: [
      ...['sys', 'ebpf', 'netlink', 'objects', 'services', 'routes', 'kube', 'vm', 'podnet', 'lab'],
      ...['policy', 'datapath'],
      ...['agent', 'assets', 'control', 'inspect', 'hubble', 'web', 'relay'],
      ...['deploy', 'cli', 'demo'],
    ],
  },
  tools: { imports: ['ebpf', 'kube', 'lab', 'assets', 'control', 'web', 'tune', 'deploy'] },
  bench: {
    imports: [
      'tools',
      ...['sys', 'ebpf', 'netlink', 'state', 'objects', 'services', 'kube', 'vm', 'lab'],
      ...['datapath', 'agent', 'assets', 'control', 'hubble'],
    ],
  },
};

const files = new Map(
  projectFiles('.ts', 'package.json').map((file) => [file, readFileSync(root + file, 'utf8')]),
);
const offences = findOffences(files, { layers, core: corePackages });
for (const offence of offences) console.error(offence);
process.exitCode = offences.length > 0 ? 1 : 0;
