import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { cniPlugin } from '@heddle/assets';
import { currentPins } from '@heddle/datapath';
import { decodePolicyState } from '@heddle/datapath/abi';
import { BpfMap, LinuxBpf } from '@heddle/ebpf';
import type { WrittenObject } from '@heddle/kube/testing/object-store';
import { CniPlugin, createLab, type Lab, type LabNode } from '@heddle/lab';
import { ApiProcess, Cpus, nowNs } from '../cluster/api-client.ts';
import { AgentProcess } from '../variants/agent-process.ts';
import { quietCpu, type World } from '../world.ts';
import { type PolicyScale, policyObjects } from './objects.ts';

const deadlineMs = 10_000;
/** The agent looks every few seconds whether there is memory to give back. */
const settleMs = 12_000;
/** The maps of network policies. */
const policyMaps = [
  ...['policy_subjects', 'policy_rules', 'policy_peers', 'policy_ranges', 'policy_ports'],
  ...['peer_vectors', 'port_vectors', 'policy_state', 'policy_grants', 'name_classes'],
];

/** A node with pods, whose agent has the network policies of an API server. */
export class PolicyCluster implements Disposable {
  readonly agent: AgentProcess;
  readonly #lab: Lab;
  readonly #api: ApiProcess;
  readonly #node: LabNode;
  readonly #bpf: LinuxBpf;
  readonly #state: BpfMap;

  private constructor(lab: Lab, api: ApiProcess, agent: AgentProcess, bpf: LinuxBpf) {
    this.#lab = lab;
    this.#api = api;
    this.agent = agent;
    this.#node = lab.nodes[0]!;
    this.#bpf = bpf;
    this.#state = BpfMap.openPinned(bpf, `${currentPins(this.#node.bpffs).maps}/policy_state`);
  }

  /** Returns when so many pods are connected, without any policy. */
  static async open(world: World, name: string, pods: number): Promise<PolicyCluster> {
    const lab = createLab(world.platform, {
      ...{ name: `bench-${name}-${process.pid}`, podsPerNode: 0, podRoutes: false },
    });
    try {
      const node = lab.nodes[0]!;
      const folder = world.folder(lab.name);
      const socket = `${folder}/cni.sock`;
      mkdirSync(`${folder}/bin`);
      const path = `${folder}/bin/heddle-cni`;
      writeFileSync(path, cniPlugin(node.platform.arch), { mode: 0o755 });
      const cpus = new Cpus(world);
      const api = await ApiProcess.start(node, cpus, folder);
      const measured = Array.from({ length: pods }, (_, i) => ({
        ...{ name: `pod-${i}`, address: `10.244.1.${i + 2}` },
      }));
      await api.ask({ do: 'fill', node: node.name, services: 0, endpoints: 0 });
      await api.ask({ do: 'put', objects: policyObjects({ policies: 0, peers: 0 }, measured) });
      const config = `${folder}/config.json`;
      const cni = { binDir: `${folder}/bin`, configDir: `${folder}/net.d`, socket };
      writeFileSync(config, JSON.stringify({ network: true, cni }));
      const agent = cpus.on(
        quietCpu(world.platform),
        () => new AgentProcess(node, folder, { kubeconfig: api.kubeconfig, config }),
      );
      await agent.allProgrammed(0);
      const plugin = new CniPlugin({ path, socketOf: () => socket });
      for (const pod of measured) await lab.addPodBy(plugin, node, pod.name);
      return new PolicyCluster(lab, api, agent, new LinuxBpf(world.platform));
    } catch (error) {
      lab[Symbol.dispose]();
      throw error;
    }
  }

  /** Adds policies, and the pods that they name as peers; returns when all is programmed. */
  async fill(scale: PolicyScale): Promise<void> {
    const objects = policyObjects(scale, []);
    for (let at = 0; at < objects.length; at += 5_000) {
      await this.#api.ask({ do: 'put', objects: objects.slice(at, at + 5_000) });
    }
    const before = this.#epoch();
    await this.agent.first(() => (this.#epoch() === before ? undefined : true));
    await this.settle();
    await this.agent.allProgrammed(0);
  }

  /** Changes an object at the API server. Returns the milliseconds until that is programmed. */
  async change(object: WrittenObject): Promise<number> {
    const before = this.#epoch();
    const asked = this.#api.ask({ do: 'put', objects: [object] });
    const start = performance.now();
    while (this.#epoch() === before) {
      if (performance.now() - start > deadlineMs) {
        const { kind, metadata } = object;
        throw new Error(`change ${kind} ${metadata.name}: not programmed after 10 s`);
      }
      // Between looks the processor is the agent's.
      Atomics.wait(never, 0, 0, 0.1);
    }
    const programmedNs = nowNs();
    return (programmedNs - ((await asked) as number)) / 1e6;
  }

  /** Lets the agent give back what it does not need any more. */
  async settle(): Promise<void> {
    await sleep(settleMs);
  }

  /** Returns the memory of the maps of network policies, in bytes, as the kernel states it. */
  bpfBytes(): number {
    const { maps } = currentPins(this.#node.bpffs);
    return policyMaps.reduce((sum, name) => {
      using map = BpfMap.openPinned(this.#bpf, `${maps}/${name}`);
      const info = readFileSync(`/proc/self/fdinfo/${map.fd}`, 'utf8');
      return sum + Number(/^memlock:\s+(\d+)/m.exec(info)![1]);
    }, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agent.stop();
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.#state[Symbol.dispose]();
    this.#api[Symbol.dispose]();
    this.#lab[Symbol.dispose]();
  }

  /** The agent increments it as the last step of each change. */
  #epoch(): number {
    return decodePolicyState(this.#state.lookup(new Uint8Array(4))!).epoch;
  }
}

/** Atomics.wait blocks on this; no thread notifies it. */
const never = new Int32Array(new SharedArrayBuffer(4));
