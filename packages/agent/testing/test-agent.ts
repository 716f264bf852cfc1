import { mkdtempSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodePlatform } from '@heddle/sys/node';
import { Agent } from '../src/agent.ts';
import { readConfig } from '../src/config.ts';
import { allFeatures } from '../src/features/index.ts';
import { freePins, MemoryDatapath, ScriptedSource } from './parts.ts';
import { Talk } from './talk.ts';

export interface TestAgentOptions {
  /** Called before the agent starts, e.g. to make rows fail. */
  readonly prepare?: (datapath: MemoryDatapath) => void;
  /** False: the agent has a cluster as its source. Default: a folder. */
  readonly manifests?: boolean;
}

/** An agent on node `n1` with a datapath in memory and a source that the test controls. */
export class TestAgent implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'heddle-agent-'));
  readonly socket = join(this.folder, 'agent.sock');
  readonly datapath = new MemoryDatapath();
  readonly source: ScriptedSource;
  readonly agent: Agent;
  readonly #lines: string[] = [];
  readonly #sockets: Socket[] = [];
  #isEnded = false;

  constructor({ prepare, manifests = true }: TestAgentOptions = {}) {
    prepare?.(this.datapath);
    const { folder, socket } = this;
    const config = readConfig(undefined, manifests ? { manifests: folder, socket } : { socket });
    let source: ScriptedSource | undefined;
    try {
      this.agent = new Agent({
        platform: nodePlatform((level, message) => this.#lines.push(`${level} ${message}`)),
        config: {
          ...config,
          ...{ node: 'n1', cgroup: '/', healthAddress: 'off', metricsAddress: 'off' },
        },
        version: '1.2.3',
        features: allFeatures,
        takePins: freePins,
        openDatapath: () => this.datapath,
        openSource: (listener) => {
          source = new ScriptedSource(listener);
          return source;
        },
      });
    } catch (error) {
      rmSync(folder, { recursive: true });
      throw error;
    }
    this.source = source!;
  }

  /** Returns the lines of the log since the last call. */
  takeLines(): string[] {
    return this.#lines.splice(0);
  }

  /** Connects to the control socket. */
  talk(): Talk {
    const talk = new Talk(this.socket);
    this.#sockets.push(talk.socket);
    return talk;
  }

  /** Ends the agent; its folder stays until dispose. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.agent[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket.destroy();
    this.end();
    rmSync(this.folder, { recursive: true });
  }
}
