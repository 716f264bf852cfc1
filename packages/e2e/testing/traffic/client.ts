import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { LabHost } from '@heddle/lab';

/** A request to a client process, which repeats it `count` times. */
export interface ClientRequest {
  /** `connected` and `unconnected` are UDP sockets; `bind` listens for a moment. */
  readonly method: 'tcp' | 'connected' | 'unconnected' | 'bind';
  readonly host: string;
  readonly port: number;
  /** The name of a UDP socket, which stays open for later requests. If empty, each request makes a new socket. */
  readonly socket: string;
  readonly count: number;
  /** The number of bytes to send; all must be echoed. */
  readonly bytes: number;
}

/** The result of a request. */
export interface ClientReply {
  /** The name of the pod that replied, or the errno, or `timeout`. */
  readonly pod: string;
  /** The source address and port of the reply that the application observes: `10.96.0.1 80`. */
  readonly from: string;
}

/** A process in a pod or on a node that uses Node.js sockets. It ends with the lab. */
export class Client {
  readonly #process: ChildProcess;
  readonly #waiting: ((answers: ClientReply[]) => void)[] = [];

  constructor(place: LabHost) {
    const program = fileURLToPath(new URL('pod-client.ts', import.meta.url));
    this.#process = place.spawn(process.execPath, [program], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    createInterface({ input: this.#process.stdout! }).on('line', (line) => {
      this.#waiting.shift()!(JSON.parse(line) as ClientReply[]);
    });
  }

  /** Returns the pods that replied on `count` TCP connections, or the errors. */
  async pods(host: string, port: number, count: number): Promise<string[]> {
    return (await this.#ask('tcp', host, port, '', count)).map(({ pod }) => pod);
  }

  /** Returns the pod that replied on a TCP connection, or the error. */
  async pod(host: string, port: number): Promise<string> {
    return (await this.pods(host, port, 1))[0]!;
  }

  /** Returns the result of getpeername() on a TCP connection, and the pod that replied. */
  async tcp(host: string, port: number): Promise<ClientReply> {
    return (await this.#ask('tcp', host, port, '', 1))[0]!;
  }

  /** Returns the pods that replied to `count` datagrams, each on a new socket. */
  async udpPods(host: string, port: number, count: number): Promise<string[]> {
    return (await this.#ask('unconnected', host, port, '', count)).map(({ pod }) => pod);
  }

  /** Returns the pod that echoed all bytes. */
  async echoBytes(method: 'tcp' | 'unconnected', host: string, port: number, bytes: number) {
    return (await this.#ask(method, host, port, '', 1, bytes))[0]!.pod;
  }

  /** Exchanges datagrams on the socket of that name. */
  async udp(
    host: string,
    port: number,
    socket: string,
    method: 'connected' | 'unconnected' = 'unconnected',
  ): Promise<ClientReply> {
    return (await this.#ask(method, host, port, socket, 1))[0]!;
  }

  /** Returns `bound`, or the errno. */
  async bind(host: string, port: number): Promise<string> {
    return (await this.#ask('bind', host, port, '', 1))[0]!.pod;
  }

  #ask(
    method: ClientRequest['method'],
    host: string,
    port: number,
    socket: string,
    count: number,
    bytes = 1,
  ): Promise<ClientReply[]> {
    const request: ClientRequest = { method, host, port, socket, count, bytes };
    this.#process.stdin!.write(`${JSON.stringify(request)}\n`);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
