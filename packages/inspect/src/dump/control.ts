import type { ControlSource } from '@heddle/control';
import { exitCodes, Failure } from '@heddle/control/failure';
import { formatIp, parseIp } from '@heddle/sys';
import { type Answers, type Dump, listOf } from './dump.ts';

type Params = Record<string, unknown>;

/** Returns the answers that the agent gave when the dump was made. */
export class DumpedControl implements ControlSource {
  readonly nowMs: number;
  readonly #answers: Answers;
  readonly #path: string;

  /** Throws Failure when no agent answered at the time. */
  constructor({ head, answers }: Dump, path: string) {
    if ('missing' in answers) {
      throw new Failure(
        exitCodes.failed,
        `read dump ${path}: it has no answers of an agent, because none was reached when it was made: ${answers.missing}`,
      );
    }
    this.nowMs = Date.parse(head.created);
    this.#answers = answers;
    this.#path = path;
  }

  async request(method: string, params: Params = {}): Promise<unknown> {
    const { status, config, details } = this.#answers;
    switch (method) {
      case 'status':
        return status;
      case 'config.get':
        return config;
      case 'service.get': {
        const items = details.filter(({ key }) => belongsTo(key, params.service));
        if (items.length === 0) throw this.#unknown(params.service);
        return { items };
      }
      default:
        return { items: this.#list(method, params) };
    }
  }

  async *items<Item>(method: string, params: Params = {}): AsyncGenerator<Item> {
    yield* this.#list(method, params) as Item[];
  }

  [Symbol.dispose](): void {}

  #list(method: string, params: Params): readonly unknown[] {
    switch (method) {
      case 'service.list':
        return this.#services().filter(
          ({ namespace }) => params.namespace === undefined || namespace === params.namespace,
        );
      case 'backend.list': {
        const { service } = params;
        const backends = listOf(this.#answers, 'backend.list');
        if (service === undefined) return backends;
        if (!this.#services().some(({ key }) => belongsTo(key, service)))
          throw this.#unknown(service);
        return backends.filter((backend) => belongsTo(backend.service, service));
      }
      case 'flow.list':
        return listOf(this.#answers, 'flow.list').filter((flow) =>
          Object.entries(params).every(
            ([name, value]) =>
              value === undefined || flow[name as keyof typeof flow] === own(name, value),
          ),
        );
      default: {
        const items = this.#answers.lists.get(method);
        if (items) return items;
        throw new Failure(
          exitCodes.usage,
          `read dump ${this.#path}: later events are not in it (omit --from-dump)`,
        );
      }
    }
  }

  #services() {
    return listOf(this.#answers, 'service.list');
  }

  #unknown(service: unknown): Failure {
    return new Failure(
      exitCodes.failed,
      `read dump ${this.#path}: it has no service ${service} (heddle service list --from-dump ${this.#path} lists services)`,
    );
  }
}

/** Returns true if a row's key belongs to the service. */
function belongsTo(key: string, service: unknown): boolean {
  return key === service || key.startsWith(`${service}:`);
}

/** Returns the value of a filter in the form of the entries. */
function own(name: string, value: unknown): unknown {
  if (name === 'protocol') return String(value).toUpperCase();
  if (name !== 'client' && name !== 'backend') return value;
  const address = parseIp(String(value));
  if (!address) {
    throw new Failure(exitCodes.failed, `list flows: ${name} ${value} is not an IP address`);
  }
  return formatIp(address);
}
