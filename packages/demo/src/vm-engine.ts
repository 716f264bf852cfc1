import { readdirSync, readFileSync } from 'node:fs';
import type { ClientReport } from '@heddle/lab';
import { encodeUtf8 } from '@heddle/sys';
import { VmHost, type VmPlace } from '@heddle/vm';
import type { AgentCallbacks } from './agent-process.ts';
import type { DemoEngine, DemoPod, Traffic, TrafficOptions } from './engine.ts';
import { type Endpoint, endpointSlices, exampleFolder } from './manifests.ts';
import { VmAgent } from './vm-agent.ts';
import { VmBackend, VmTraffic } from './vm-traffic.ts';

const nodeName = 'node1';
const manifests = '/manifests';
/** The host number of the first pod's addresses. */
const firstPod = 2;
const clientPod = 200;

/** The clock and timers of Node.js on any system. */
const base = {
  setTimer(milliseconds: number, fire: () => void): Disposable {
    const timer = setTimeout(fire, milliseconds);
    return { [Symbol.dispose]: () => clearTimeout(timer) };
  },
  monotonicNs: () => process.hrtime.bigint(),
  wallTimeMs: () => Date.now(),
  log() {},
};

/**
 * Runs the demo in the userspace machine: a simulated node in this process, whose sockets pass
 * through the same BPF programs as in the kernel. Needs no root.
 */
export class VmEngine implements DemoEngine {
  readonly engine = 'vm';
  readonly agent: VmAgent;
  readonly #host: VmHost;
  readonly #client: VmPlace;
  readonly #pods = new Map<DemoPod, VmPlace>();
  readonly #backends = new Map<DemoPod, VmBackend>();
  #next = firstPod;
  #traffic: VmTraffic | undefined;

  constructor(watch: AgentCallbacks) {
    this.#host = new VmHost({
      base,
      name: nodeName,
      addresses: { v4: '172.30.0.1', v6: 'fd00:172:30::1' },
    });
    this.#client = this.#host.addPod('client', addresses(clientPod));
    this.#host.files.makeDirectories(manifests);
    this.agent = new VmAgent(this.#host, { manifests, node: nodeName, ...watch });
  }

  get place(): string {
    return `simulated node (${this.#host.node.addresses.v4}) is`;
  }

  async start(): Promise<void> {
    this.writeEndpoints([]);
    await this.agent.start();
  }

  async addPod(): Promise<DemoPod> {
    const number = this.#next++;
    const name = `pod-1-${number}`;
    const place = this.#host.addPod(name, addresses(number));
    const pod = { name, node: { name: nodeName }, path: 'same node', addresses: place.addresses };
    this.#pods.set(pod, place);
    return pod;
  }

  async removePod(pod: DemoPod): Promise<void> {
    const place = this.#pods.get(pod);
    this.#backends.get(pod)?.close();
    this.#backends.delete(pod);
    this.#pods.delete(pod);
    if (place) this.#host.removePod(place);
  }

  async startBackend(pod: DemoPod, name: string): Promise<void> {
    const place = this.#pods.get(pod);
    if (!place) throw new Error(`start backend ${name}: there is no such pod`);
    this.#backends.set(pod, new VmBackend(this.#host, place, name));
  }

  writeEndpoints(endpoints: readonly Endpoint[]): void {
    const { files } = this.#host;
    for (const name of readdirSync(exampleFolder)) {
      const path = `${manifests}/${name}`;
      if (name === 'endpoints.yaml') files.write(path, encodeUtf8(endpointSlices(endpoints)));
      else if (!files.find(path)) files.write(path, readFileSync(`${exampleFolder}/${name}`));
    }
  }

  startTraffic(
    targets: Readonly<Record<string, readonly string[]>>,
    options: TrafficOptions & { readonly onReport: (report: ClientReport) => void },
  ): Traffic {
    const backends = () => this.#backends.values();
    this.#traffic = new VmTraffic(this.#host, this.#client, backends, targets, options);
    return this.#traffic;
  }

  async close(): Promise<void> {
    this.#traffic?.stop();
    this.agent.stop();
    this.#host[Symbol.dispose]();
  }
}

function addresses(number: number): { v4: string; v6: string } {
  return { v4: `10.244.1.${number}`, v6: `fd00:10:244:1::${number.toString(16)}` };
}
