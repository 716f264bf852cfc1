import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, rmdirSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { cgroupRoot } from '@heddle/lab';
import { root } from '../files.ts';
import { manifestOf } from './libraries.ts';
import { run } from './run.ts';

/**
 * Installs the tarball of `heddle` globally with the Node.js in the folder `bin`, starts an agent in a
 * network namespace, a cgroup and a bpf file system of its own, and reads its status. Then starts a relay.
 */
export async function testCommand(folder: string, registry: string, bin: string): Promise<void> {
  const prefix = `${folder}/global`;
  const env = { ...process.env, PATH: `${prefix}/bin:${bin}:${process.env.PATH}` };
  const tarball = `${folder}/tarballs/heddle-${manifestOf('packages/cli').version}.tgz`;
  const flags = ['--prefix', prefix, '--registry', registry, '--no-audit', '--no-fund'];
  await run('npm', ['install', '-g', ...flags, tarball]);
  await testRelay(`${folder}/relay.sock`, env);

  const cgroup = `${cgroupRoot()}/heddle-packages-${process.pid}`;
  const bpffs = `${folder}/bpf`;
  const socket = `${folder}/agent.sock`;
  mkdirSync(cgroup);
  const agent = spawn(
    'unshare',
    [
      ...['--net', 'heddle', 'agent', '--manifests', `${root}examples/hello`],
      ...['--cgroup', cgroup, '--bpffs', bpffs, '--socket', socket, '--log-level', 'error'],
    ],
    { env, stdio: ['ignore', 'inherit', 'inherit'] },
  );
  const exited = once(agent, 'exit');
  try {
    await waitForStatus(socket, env, /^services +2 /m);
  } finally {
    agent.kill();
    await exited;
    await run('heddle', ['cleanup', '--bpffs', bpffs, '--socket', socket], { env });
    await run('umount', [bpffs]);
    rmdirSync(cgroup);
    rmSync(prefix, { recursive: true });
  }
}

/** Waits until `heddle status` succeeds and writes `wanted`. */
async function waitForStatus(
  socket: string,
  env: NodeJS.ProcessEnv,
  wanted: RegExp,
): Promise<void> {
  for (let attempt = 0, last: unknown; attempt < 50; attempt++) {
    try {
      last = await run('heddle', ['status', '--socket', socket], { env });
      if (wanted.test(`${last}`)) return;
    } catch (error) {
      last = error;
    }
    if (attempt === 49) throw new Error(`run heddle status: no ${wanted} in: ${last}`);
    await sleep(200);
  }
}

/** Starts a relay, whose observer does not exist, and waits until it listens. */
async function testRelay(socket: string, env: NodeJS.ProcessEnv): Promise<void> {
  const options = [
    '--node',
    `none=unix://${socket}.none`,
    '--listen',
    `unix://${socket}`,
    '--no-ui',
  ];
  const relay = spawn('heddle', ['relay', ...options], {
    env,
    stdio: ['ignore', 'inherit', 'ignore'],
  });
  const exited = once(relay, 'exit');
  try {
    while (!existsSync(socket)) {
      if (relay.exitCode !== null)
        throw new Error(`run heddle relay: it ended with ${relay.exitCode}`);
      await sleep(100);
    }
  } finally {
    relay.kill();
    await exited;
  }
}
