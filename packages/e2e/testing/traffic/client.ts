import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { LabHost } from '@heddle/lab';

/** What a client is told to do, so many times. */
export interface Asking {
  /** `connected` and `unconnected` are UDP sockets; `bind` listens for a moment. */
  readonly how: 'tcp' | 'connected' | 'unconnected' | 'bind';
  readonly host: string;
  readonly port: number;
  /** Name of a UDP socket, which stays open for the next time; empty: a new one each time. */
  readonly socket: string;
  readonly count: number;
  /** How much is sent; all of it must come back. */
  readonly bytes: number;
}

/** What came of it. */
export interface Answered {
  /** Name of the pod that answered, or the errno, or `timeout`. */
  readonly pod: string;
  /** Address and port that the answer was from, as the application sees it: `10.96.0.1 80`. */
  readonly from: string;
}

/** A process in a pod or on a node with Node's own sockets. It ends with the lab. */
export class Client {
  readonly #process: ChildProcess;
  readonly #waiting: ((answers: Answered[]) => void)[] = [];

  constructor(place: LabHost) {
    const program = fileURLToPath(new URL('pod-client.ts', import.meta.url));
    this.#process = place.spawn(process.execPath, [program], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    createInterface({ input: this.#process.stdout! }).on('line', (line) => {
      this.#waiting.shift()!(JSON.parse(line) as Answered[]);
    });
  }

  /** The pods that answered so many TCP connections, or what they failed with. */
  async pods(host: string, port: number, count: number): Promise<string[]> {
    return (await this.#ask('tcp', host, port, '', count)).map(({ pod }) => pod);
  }

  /** One TCP connection. */
  async pod(host: string, port: number): Promise<string> {
    return (await this.pods(host, port, 1))[0]!;
  }

  /** What getpeername() says of a TCP connection, with the pod behind it. */
  async tcp(host: string, port: number): Promise<Answered> {
    return (await this.#ask('tcp', host, port, '', 1))[0]!;
  }

  /** The pods that answered so many exchanges of datagrams, each on a new socket. */
  async udpPods(host: string, port: number, count: number): Promise<string[]> {
    return (await this.#ask('unconnected', host, port, '', count)).map(({ pod }) => pod);
  }

  /** The pod that sent back so many bytes whole. */
  async large(how: 'tcp' | 'unconnected', host: string, port: number, bytes: number) {
    return (await this.#ask(how, host, port, '', 1, bytes))[0]!.pod;
  }

  /** One exchange of datagrams on a socket of that name. */
  async udp(
    host: string,
    port: number,
    socket: string,
    how: 'connected' | 'unconnected' = 'unconnected',
  ): Promise<Answered> {
    return (await this.#ask(how, host, port, socket, 1))[0]!;
  }

  /** `bound`, or the errno. */
  async bind(host: string, port: number): Promise<string> {
    return (await this.#ask('bind', host, port, '', 1))[0]!.pod;
  }

  #ask(
    how: Asking['how'],
    host: string,
    port: number,
    socket: string,
    count: number,
    bytes = 1,
  ): Promise<Answered[]> {
    const asking: Asking = { how, host, port, socket, count, bytes };
    this.#process.stdin!.write(`${JSON.stringify(asking)}\n`);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
