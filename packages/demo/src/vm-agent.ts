import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Agent,
  type AgentEvent,
  type AgentStatus,
  type Page,
  readConfig,
  type ServiceDetail,
  type ServiceEntry,
  startAgent,
} from '@heddle/agent';
import { cniPlugin, objects, version } from '@heddle/assets';
import type { VmHost } from '@heddle/vm';
import type { AgentCallbacks } from './agent-process.ts';
import type { DemoAgent } from './engine.ts';

export interface VmAgentOptions extends AgentCallbacks {
  readonly node: string;
  readonly manifests: string;
}

/** Runs the agent in this process on a simulated host. */
export class VmAgent implements DemoAgent {
  readonly #host: VmHost;
  readonly #options: VmAgentOptions;
  #agent: Agent | undefined;

  constructor(host: VmHost, options: VmAgentOptions) {
    this.#host = host;
    this.#options = options;
  }

  async start(): Promise<AgentStatus> {
    const { node, manifests, onState } = this.#options;
    onState({ phase: 'starting', adopted: false });
    const agent = startAgent({
      platform: this.#host.platform,
      bpf: this.#host.bpf,
      config: readConfig(undefined, {
        ...{ manifests, node },
        bpffs: '/sys/fs/bpf',
        socket: '/run/heddle/agent.sock',
      }),
      environment: {},
      version: version(),
      objects,
      cniPlugin,
    });
    this.#agent = agent;
    // A killed agent reports no more events.
    const follow = (event: unknown) => {
      if (this.#agent !== agent) return false;
      this.#options.onEvent(event as AgentEvent);
      return true;
    };
    agent.handle({ id: 0, method: 'events.follow', params: {} }, follow);
    for (;;) {
      const status = this.#ask<AgentStatus>('status')!;
      if (status.source.complete && status.rows.pending === 0) {
        onState({ phase: 'running', adopted: status.datapath.adopted });
        return status;
      }
      await sleep(5);
    }
  }

  async kill(): Promise<void> {
    this.stop();
    this.#options.onState({ phase: 'killed', adopted: false });
  }

  async services(): Promise<ServiceEntry[] | undefined> {
    const page = this.#ask<Page<ServiceEntry>>('service.list');
    return page && [...page.items];
  }

  async service(service: string): Promise<readonly ServiceDetail[] | undefined> {
    return this.#ask<{ items: ServiceDetail[] }>('service.get', { service })?.items;
  }

  stop(): void {
    const agent = this.#agent;
    this.#agent = undefined;
    agent?.[Symbol.dispose]();
  }

  #ask<Answer>(method: string, params: Record<string, unknown> = {}): Answer | undefined {
    const answer = this.#agent?.handle({ id: 0, method, params }, () => false);
    return answer as Answer | undefined;
  }
}
