import { connect as connectHttp2, constants } from 'node:http2';
import { connect } from 'node:net';
import { encodeMap, encodeMessage, Fields, type Message } from './protobuf.ts';

/** A pod as the kubelet describes it to the container runtime. */
export interface PodSandbox {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly attempt?: number;
}

export interface SandboxStatus {
  readonly isReady: boolean;
  readonly addresses: readonly string[];
}

/** An error that the container runtime has returned. */
export class CriError extends Error {
  override readonly name = 'CriError';
  /** The code of gRPC. */
  readonly code: number;

  constructor(method: string, code: number, message: string) {
    super(`${method}: ${message} (${code})`);
    this.code = code;
  }
}

/** Calls the container runtime interface (CRI v1) on a unix socket as the kubelet does. Each call has its connection. */
export class CriClient {
  readonly #path: string;
  /** The parent of the cgroups of pods. */
  readonly #cgroupParent: string;

  constructor(path: string, cgroupParent: string) {
    this.#path = path;
    this.#cgroupParent = cgroupParent;
  }

  /** Returns the id of a new sandbox. */
  async runPodSandbox({ name, namespace, uid, attempt = 0 }: PodSandbox): Promise<string> {
    const labels = {
      'io.kubernetes.pod.name': name,
      'io.kubernetes.pod.namespace': namespace,
      'io.kubernetes.pod.uid': uid,
    };
    const config = {
      1: { 1: name, 2: uid, 3: namespace, 4: attempt },
      2: name,
      6: encodeMap(labels),
      8: { 1: this.#cgroupParent },
    };
    return (await this.#call('RunPodSandbox', { 1: config })).text(1);
  }

  async stopPodSandbox(id: string): Promise<void> {
    await this.#call('StopPodSandbox', { 1: id });
  }

  async removePodSandbox(id: string): Promise<void> {
    await this.#call('RemovePodSandbox', { 1: id });
  }

  async podSandboxStatus(id: string): Promise<SandboxStatus> {
    const status = (await this.#call('PodSandboxStatus', { 1: id })).message(1);
    const network = status.message(5);
    const additional = network.messages(2).map((address) => address.text(1));
    return {
      isReady: status.number(3) === 0,
      addresses: [network.text(1), ...additional].filter((address) => address !== ''),
    };
  }

  /** Returns the ids of all sandboxes. */
  async listPodSandboxes(): Promise<string[]> {
    return (await this.#call('ListPodSandbox', {})).messages(1).map((item) => item.text(1));
  }

  /** Returns why the network is not ready, or undefined when it is. */
  async networkProblem(): Promise<string | undefined> {
    const conditions = (await this.#call('Status', {})).message(1).messages(1);
    const network = conditions.find((condition) => condition.text(1) === 'NetworkReady');
    return network?.number(2) === 1 ? undefined : (network?.text(4) ?? 'no condition');
  }

  async #call(method: string, message: Message): Promise<Fields> {
    const session = connectHttp2('http://localhost', {
      createConnection: () => connect(this.#path),
    });
    try {
      return await new Promise<Fields>((resolve, reject) => {
        session.on('error', reject);
        session.on('close', () => reject(new Error(`${method}: the connection is closed`)));
        const request = session.request({
          ':method': 'POST',
          ':path': `/runtime.v1.RuntimeService/${method}`,
          'content-type': 'application/grpc',
          te: 'trailers',
        });
        const parts: Buffer[] = [];
        const finish = (headers: Record<string, unknown>) => {
          if (headers['grpc-status'] === undefined) return;
          const code = Number(headers['grpc-status']);
          if (code === 0) return;
          const text = decodeURIComponent(String(headers['grpc-message'] ?? ''));
          reject(new CriError(method, code, text));
        };
        request.on('response', finish);
        request.on('trailers', finish);
        request.on('data', (part: Buffer) => parts.push(part));
        request.on('error', reject);
        // The answer has five bytes before its message: no compression, and the length.
        request.on('end', () => resolve(new Fields(Buffer.concat(parts).subarray(5))));
        const body = encodeMessage(message);
        const header = Buffer.alloc(5);
        header.writeUInt32BE(body.length, 1);
        request.end(Buffer.concat([header, body]));
      });
    } finally {
      session.destroy(undefined, constants.NGHTTP2_NO_ERROR);
    }
  }
}
