import type { ChildProcess } from 'node:child_process';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { version } from '@heddle/assets';
import type { LabNode } from '@heddle/lab';
import { openAccess, RunningRelay } from '@heddle/relay';
import { exited } from './agent-process.ts';

const program = fileURLToPath(import.meta.resolve('@heddle/cli/main'));
/** The port of the page, if it is free. */
const usualPort = 8080;
const startMs = 30_000;
const historyBytes = 64 << 20;

/** A node with an agent, whose flows the page shows. */
export interface ObservedNode {
  readonly node: LabNode;
  /** The control socket of its agent. */
  readonly socket: string;
  /** A folder for the observer's socket. It exists. */
  readonly folder: string;
}

/** An observer on each node, and a relay in this process, which serves the page on loopback. */
export class DemoPage {
  readonly #nodes: readonly ObservedNode[];
  readonly #folder: string;
  readonly #observers: ChildProcess[] = [];
  #relay: RunningRelay | undefined;

  /** `folder` is for the relay's socket. It exists. */
  constructor(nodes: readonly ObservedNode[], folder: string) {
    this.#nodes = nodes;
    this.#folder = folder;
  }

  /** Starts the observers and the relay. Resolves to the address of the page when it has flows of all nodes. */
  async start(): Promise<string> {
    const nodes = this.#nodes.map(({ node, socket, folder }) => {
      const address = `unix://${folder}/hubble.sock`;
      const options = ['--bpffs', node.bpffs, '--listen', address, '--wait', '30'];
      const args = [program, 'observer', '--socket', socket, ...options];
      // A separate process group, so that Ctrl-C in the terminal reaches only the demo.
      const child = node.spawn(process.execPath, args, { stdio: 'ignore', detached: true });
      this.#observers.push(child);
      return { name: node.name, address, tlsServerName: undefined };
    });
    const place = { host: '127.0.0.1', port: (await freePort(usualPort)) ?? (await freePort(0))! };
    let problem = '';
    this.#relay = await RunningRelay.start({
      nodes,
      listen: [{ unix: `${this.#folder}/relay.sock` }],
      ui: { place, accessOf: () => openAccess, hosts: [] },
      ...{ cluster: 'demo', version: `heddle ${version()}`, historyBytes },
      log: (message) => {
        problem = message;
      },
    });
    const url = `http://${place.host}:${place.port}/`;
    const deadline = Date.now() + startMs;
    while (!(await hearsAllNodes(url))) {
      if (Date.now() > deadline) throw new Error(`start the page: a node is missing: ${problem}`);
      await sleep(100);
    }
    // The first request has the page compiled, which would keep the first reader without events for seconds.
    await fetch(url);
    return url;
  }

  /** Resolves when no process is left. */
  async close(): Promise<void> {
    await this.#relay?.close();
    for (const child of this.#observers) child.kill('SIGKILL');
    await Promise.all(this.#observers.map(exited));
  }
}

/** Returns the port if it is free on loopback, or any free one for 0; undefined if it is taken. */
function freePort(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, '127.0.0.1', () => {
      const found = (server.address() as { port: number }).port;
      server.close(() => resolve(found));
    });
  });
}

async function hearsAllNodes(url: string): Promise<boolean> {
  const { nodes } = (await (await fetch(`${url}api/hello`)).json()) as {
    nodes: { seen: number; all: number };
  };
  return nodes.seen === nodes.all;
}
