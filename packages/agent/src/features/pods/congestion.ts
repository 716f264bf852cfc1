import type { NetworkNamespace } from '@heddle/netlink';
import { congestionControlAnnotation } from '@heddle/objects';
import { setCongestionControl } from '@heddle/podnet';
import type { Platform } from '@heddle/sys';
import type { EventLog } from '../../events.ts';
import { type CniCall, readAnnotations } from './cni/call.ts';

const namePattern = /^[a-z0-9_]{1,15}$/;

export interface PodCongestionOptions {
  readonly platform: Platform;
  readonly events: EventLog;
  /** The congestion control of all pods; undefined for that of the node. */
  readonly fallback: string | undefined;
  /** The directory of network settings; see Sysctls. */
  readonly sysctls: string;
}

/** Sets the congestion control of new pods, from their annotation or the configuration. */
export class PodCongestion {
  readonly #options: PodCongestionOptions;
  /** Sentences about those that could not be set at last, by name. */
  readonly #problems = new Map<string, string>();

  constructor(options: PodCongestionOptions) {
    this.#options = options;
  }

  get problems(): string[] {
    return [...this.#problems.values()];
  }

  /** Sets it in the network namespace of a pod. A pod works without it, so that a failure is a problem only. */
  set({ config }: Pick<CniCall, 'config'>, namespace: NetworkNamespace, label: string): void {
    const { platform, events, fallback, sysctls } = this.#options;
    const chosen = readAnnotations(config)[congestionControlAnnotation];
    const name = chosen ?? fallback;
    if (name === undefined) return;
    if (!namePattern.test(name)) {
      const fault = `annotation ${congestionControlAnnotation} is ${JSON.stringify(name)}`;
      events.add('warn', 'problem', label, `${fault}: must be a name such as bbr; it is ignored`);
      return;
    }
    let problem: string | undefined;
    try {
      problem = setCongestionControl(platform, namespace, name, sysctls);
    } catch (error) {
      problem = `congestion control ${name} cannot be used: ${(error as Error).message}`;
    }
    if (problem === undefined) {
      this.#problems.delete(name);
      return;
    }
    this.#problems.set(name, `pods keep the congestion control of the node: ${problem}`);
    events.add('warn', 'problem', label, problem);
  }
}
