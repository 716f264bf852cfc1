import type { ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { ApiServerOptions } from '@heddle/kube/testing/api-server';
import type { LabNode } from '@heddle/lab';
import { CertificateAuthority } from '@heddle/sys/testing/certificates';
import { Sockets } from '../traffic/sockets.ts';
import { answer, type World } from '../world.ts';
import type { Order } from './api-process.ts';

const script = fileURLToPath(new URL('./api-process.ts', import.meta.url));
const token = 'the-agent';

/** An API server that speaks TLS on a lab's node, in a process of its own on the first processor. */
export class ApiProcess implements Disposable {
  /** The path of a kubeconfig for it. */
  readonly kubeconfig: string;
  readonly #process: ChildProcess;

  private constructor(child: ChildProcess, kubeconfig: string) {
    this.#process = child;
    this.kubeconfig = kubeconfig;
  }

  /** `folder` is for the kubeconfig. */
  static async start(node: LabNode, cpus: Cpus, folder: string): Promise<ApiProcess> {
    const authority = new CertificateAuthority();
    const pair = authority.issue({ name: 'kube-apiserver', hosts: ['127.0.0.1'] });
    const options: ApiServerOptions = { tls: pair, tokens: [token] };
    const child = cpus.on(0, () =>
      node.spawn(process.execPath, [script, JSON.stringify(options)], {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      }),
    );
    const url = (await answer(child)) as string;
    const kubeconfig = `${folder}/kubeconfig`;
    writeFileSync(kubeconfig, kubeconfigOf(url, authority.cert));
    return new ApiProcess(child, kubeconfig);
  }

  /** Sends an order, and gives its answer. One at a time. */
  ask(order: Order): Promise<unknown> {
    this.#process.send(order);
    return answer(this.#process);
  }

  [Symbol.dispose](): void {
    this.#process.disconnect();
  }
}

/** Starts processes on one processor: they inherit it from this one. */
export class Cpus {
  readonly #sockets: Sockets;

  constructor(world: World) {
    this.#sockets = new Sockets(world.platform);
  }

  on<T>(cpu: number, start: () => T): T {
    const allowed = this.#sockets.processors();
    this.#sockets.pinTo(cpu);
    try {
      return start();
    } finally {
      this.#sockets.allowProcessors(allowed);
    }
  }
}

/** Returns a time of CLOCK_MONOTONIC, which all processes share. */
export function nowNs(): number {
  return Number(process.hrtime.bigint());
}

function kubeconfigOf(url: string, ca: string): string {
  return JSON.stringify({
    ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'bench' },
    contexts: [{ name: 'bench', context: { cluster: 'bench', user: 'agent' } }],
    clusters: [{ name: 'bench', cluster: { server: url, 'certificate-authority-data': btoa(ca) } }],
    users: [{ name: 'agent', user: { token } }],
  });
}
