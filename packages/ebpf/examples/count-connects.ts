// Counts connect() calls by port. Run as root:
//
//   node packages/ebpf/examples/count-connects.ts [--cgroup DIR] [--seconds N]
//   node packages/ebpf/examples/count-connects.ts --once
//
// The first form counts those of the processes of a cgroup (by default of the machine) for some
// seconds. The second one makes a cgroup and three connections of its own, and counts these.
// The BPF programs are in testdata/connects.bpf.c.
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { parseArgs } from 'node:util';
import { attachCgroup, LinuxBpf, loadObject, readObject, u16, u64 } from '@heddle/ebpf';
import { nodePlatform } from '@heddle/sys/node';

const { values: options } = parseArgs({
  options: {
    cgroup: { type: 'string' },
    seconds: { type: 'string', default: '5' },
    once: { type: 'boolean', default: false },
  },
});

const platform = nodePlatform();
const bpf = new LinuxBpf(platform);
const root = cgroupRoot();

/** The cgroup of this process, to return to. */
const home = `${root}${readFileSync('/proc/self/cgroup', 'utf8').match(/^0::(.*)$/m)?.[1] ?? '/'}`;
const own = `${root}/count-connects-${process.pid}`;
if (options.once) mkdirSync(own);

try {
  const ports = await count(options.once ? own : (options.cgroup ?? root));
  console.log('port    connects');
  for (const [port, connects] of ports) console.log(`${String(port).padEnd(8)}${connects}`);
} catch (error) {
  console.error(`count-connects: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
} finally {
  if (options.once) rmdirSync(own);
}

/** Attaches the programs to the cgroup, waits, and reads the map: [port, connects] by number. */
async function count(cgroup: string): Promise<[number, bigint][]> {
  // Reading the object does not involve the kernel; loading it does.
  const spec = readObject(readFileSync(new URL('../testdata/connects.o', import.meta.url)));
  using object = loadObject(bpf, spec, { programs: ['connect4', 'connect6'] });

  {
    // The links end with this block, and the programs with them.
    using _v4 = attachCgroup(bpf, object.program('connect4'), cgroup);
    using _v6 = attachCgroup(bpf, object.program('connect6'), cgroup);
    if (options.once) await connectSome(cgroup);
    else await new Promise((resolve) => setTimeout(resolve, Number(options.seconds) * 1000));
  }

  const ports = [...object.typedMap('connects', u16, u64).entries()];
  return ports.sort((a, b) => Number(b[1] - a[1]));
}

/** Three connections over loopback, made inside the cgroup. */
async function connectSome(cgroup: string): Promise<void> {
  const server = createServer((socket) => socket.end());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  writeFileSync(`${cgroup}/cgroup.procs`, String(process.pid));
  try {
    for (let i = 0; i < 3; i++) {
      await new Promise((resolve) => connect(port, '127.0.0.1').on('close', resolve).resume());
    }
  } finally {
    writeFileSync(`${home}/cgroup.procs`, String(process.pid));
    server.close();
  }
}

function cgroupRoot(): string {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const path = mounts.find((line) => line.includes(' - cgroup2 '))?.split(' ')[4];
  if (!path) throw new Error('find cgroup2: it is not mounted');
  return path;
}
