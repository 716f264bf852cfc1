import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LabPod, PodConnection } from './lab-host.ts';

const readyMs = 20_000;
/** The error code of CNI that asks the runtime to try again. */
const tryAgainLater = /"code": *11\b/;

export interface CniPluginOptions {
  /** The path of the plug-in. */
  readonly path: string;
  /** Returns the socket of the agent on the pod's node. */
  readonly socketOf: (pod: LabPod) => string;
  /** Returns the name of the Pod object. Default: the pod's own name, in the namespace `default`. */
  readonly nameOf?: (pod: LabPod) => PodName;
  /** The version of the specification. Default: 1.1.0. */
  readonly cniVersion?: string;
}

/** The name of a Pod object. */
export interface PodName {
  readonly namespace: string;
  readonly name: string;
}

/** The result of ADD (CNI 1.1.0), as far as the lab reads it. */
interface CniResult {
  readonly interfaces: readonly { readonly name: string; readonly sandbox?: string }[];
  readonly ips: readonly { readonly address: string }[];
}

/** Connects pods that have loopback only, and disconnects them. */
export interface PodPlugin {
  add(pod: LabPod): Promise<PodConnection>;
  remove(pod: LabPod): Promise<void>;
}

/** A CNI plug-in that connects pods of a lab, as a container runtime calls it. */
export class CniPlugin implements PodPlugin {
  readonly #options: CniPluginOptions;

  constructor(options: CniPluginOptions) {
    this.#options = options;
  }

  /** The path of the plug-in. */
  get path(): string {
    return this.#options.path;
  }

  /**
   * Connects a pod; again, as a container runtime does, while the agent is not ready. Throws an Error with the message
   * of the plug-in.
   */
  async add(pod: LabPod): Promise<PodConnection> {
    const { interfaces, ips } = JSON.parse(await this.#addWhenReady(pod)) as CniResult;
    const address = (isV6: boolean) =>
      ips.map((each) => each.address.split('/')[0]!).find((each) => each.includes(':') === isV6);
    return {
      nodeLink: interfaces.find(({ sandbox }) => sandbox === undefined)!.name,
      // A pod of one family has no address of the other.
      addresses: { v4: address(false) ?? '', v6: address(true) ?? '' },
    };
  }

  async #addWhenReady(pod: LabPod): Promise<string> {
    const deadline = Date.now() + readyMs;
    for (;;) {
      try {
        return await this.call('ADD', pod);
      } catch (error) {
        if (!tryAgainLater.test((error as Error).message) || Date.now() > deadline) throw error;
        await sleep(50);
      }
    }
  }

  /** Disconnects a pod; one that is not connected is fine. Throws an Error with the message of the plug-in. */
  async remove(pod: LabPod): Promise<void> {
    await this.call('DEL', pod);
  }

  /** Runs the plug-in for a pod on its node, and returns what it prints. Throws an Error with its message. */
  async call(command: 'ADD' | 'DEL' | 'CHECK', pod: LabPod): Promise<string> {
    const { path, socketOf, cniVersion = '1.1.0', nameOf } = this.#options;
    const { namespace, name } = nameOf?.(pod) ?? { namespace: 'default', name: pod.name };
    const config = { cniVersion, name: 'heddle', type: 'heddle-cni', socket: socketOf(pod) };
    const child = pod.node.spawn(path, [], {
      env: {
        CNI_COMMAND: command,
        CNI_CONTAINERID: pod.name,
        CNI_NETNS: pod.netnsPath,
        CNI_IFNAME: 'eth0',
        CNI_PATH: path.slice(0, path.lastIndexOf('/')),
        CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=${name};K8S_POD_UID=${pod.name}`,
      },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    // The plug-in may end before it has read everything.
    child.stdin!.on('error', () => {});
    child.stdin!.end(JSON.stringify(config));
    const ended = once(child, 'close');
    const output = await text(child.stdout!);
    const [status] = await ended;
    if (status !== 0) throw new Error(`${command} ${pod.name}: ${output}`);
    return output;
  }
}
