// Calls of the CNI plug-in as a container runtime makes them, and an agent for it to talk to.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';

export interface Call {
  /** The command to run: the plug-in, or an emulator and the plug-in. */
  readonly command: readonly string[];
  /** CNI_COMMAND and the other variables. The process has no others. */
  readonly environment: Readonly<Record<string, string>>;
  /** The bytes of stdin. */
  readonly input: string;
}

export interface Outcome {
  readonly status: number | null;
  readonly output: string;
}

/** Runs the plug-in. The caller may enter a network namespace around the call. */
export function callPlugin({ command: [file, ...args], environment, input }: Call) {
  const child = spawn(file!, args, { env: environment, stdio: ['pipe', 'pipe', 'inherit'] });
  // The plug-in may end before it has read everything.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const ended = once(child, 'close');
  return (async (): Promise<Outcome> => {
    const output = await text(child.stdout);
    const [status] = await ended;
    return { status, output };
  })();
}

/** The parts of a request of the plug-in. */
export interface Request {
  readonly environment: Readonly<Record<string, string>>;
  readonly input: string;
}

/** Reads the bytes of a request. */
export function parseRequest(bytes: Buffer): Request {
  const end = bytes.indexOf('\0\0');
  const entries = bytes.toString('latin1', 0, end).split('\0');
  return {
    environment: Object.fromEntries(entries.map((entry) => entry.split(/=(.*)/s, 2))),
    input: bytes.toString('utf8', end + 2),
  };
}

/** An agent that answers as the test wants. Disposal closes its socket and connections. */
export class FakeAgent implements AsyncDisposable {
  readonly requests: Request[] = [];
  readonly #server: Server;
  readonly #connections = new Set<Socket>();

  private constructor(answer: (connection: Socket, request: Request) => void) {
    this.#server = createServer({ allowHalfOpen: true }, (connection) => {
      this.#connections.add(connection);
      const parts: Buffer[] = [];
      connection.on('data', (part: Buffer) => parts.push(part));
      connection.on('error', () => {});
      connection.on('end', () => {
        const request = parseRequest(Buffer.concat(parts));
        this.requests.push(request);
        answer(connection, request);
      });
    });
  }

  static async listen(
    path: string,
    answer: (connection: Socket, request: Request) => void,
  ): Promise<FakeAgent> {
    const agent = new FakeAgent(answer);
    agent.#server.listen(path);
    await once(agent.#server, 'listening');
    return agent;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const connection of this.#connections) connection.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
