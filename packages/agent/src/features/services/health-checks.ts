import { ownText } from '@heddle/objects';
import { type HttpResponse, HttpServer, type ServerLimits } from '@heddle/rpc';
import type { ServiceRow } from '@heddle/services';
import type { Platform } from '@heddle/sys';
import type { EventLog } from '../../events.ts';
import type { HealthCheckEntry } from './status.ts';

export interface HealthCheckOptions {
  readonly platform: Platform;
  readonly events: Pick<EventLog, 'add'>;
  /** Returns true while changes are programmed in time, so that the reported number of endpoints is right. */
  readonly isHealthy: () => boolean;
  /** The largest number of ports. */
  readonly most?: number;
}

/** The default largest number of ports; each takes two file descriptors and 16 KiB. */
const maxPorts = 1024;

/** The probes of a load balancer come from few addresses, one request at a time. */
const limits: ServerLimits = {
  clients: 32,
  pendingBytes: 64 * 1024,
  idleMs: 60_000,
  stalledMs: 10_000,
};

/** A port, and the row that its answers are about. */
interface Check {
  row: CheckedRow;
  readonly server: HttpServer;
}

type CheckedRow = ServiceRow & { readonly healthCheck: NonNullable<ServiceRow['healthCheck']> };

/**
 * Serves `healthCheckNodePort` on all addresses of the node: load balancers send the traffic of a service with
 * externalTrafficPolicy Local to the nodes that answer 200 there. It answers as kube-proxy does, at any path: 200
 * while the service has a ready endpoint on this node and the agent keeps up with changes. The deletion of the
 * node changes nothing, because all endpoints may be on such nodes (KEP-3836 is about the other policy). A port
 * is served while a row with it is programmed.
 */
export class HealthChecks implements Disposable {
  readonly #options: HealthCheckOptions;
  readonly #most: number;
  readonly #checks = new Map<number, Check>();
  /** The port of each row that has one, by the row's key. */
  readonly #ports = new Map<string, number>();
  /** The rows beyond the largest number of ports. */
  readonly #refused = new Map<string, CheckedRow>();

  constructor(options: HealthCheckOptions) {
    this.#options = options;
    this.#most = options.most ?? maxPorts;
  }

  /** The number of ports that are served, and of those that should be and are not. */
  get counts(): { readonly listening: number; readonly failed: number } {
    let listening = 0;
    for (const { server } of this.#checks.values()) if (server.status.listening) listening++;
    return { listening, failed: this.#checks.size + this.#refused.size - listening };
  }

  /** Returns the health check of a row, or undefined without one, or before the row is programmed. */
  entry(rowKey: string): HealthCheckEntry | undefined {
    const refused = this.#refused.get(rowKey);
    if (refused) return { ...refused.healthCheck, listening: false, problem: noRoom };
    const port = this.#ports.get(rowKey);
    const check = port === undefined ? undefined : this.#checks.get(port);
    if (check?.row.key !== rowKey) return undefined;
    const { listening, problem } = check.server.status;
    const entry = { ...check.row.healthCheck, listening };
    return problem === undefined ? entry : { ...entry, problem };
  }

  /** Serves the health check of a programmed row. It takes the port over from another row that still has it. */
  set(row: ServiceRow): void {
    const { key } = row;
    if (!isChecked(row)) {
      this.delete(key);
      return;
    }
    const { port } = row.healthCheck;
    if (this.#ports.has(key) && this.#ports.get(key) !== port) this.delete(key);
    const check = this.#checks.get(port);
    if (!check && this.#checks.size >= this.#most) {
      if (!this.#refused.has(key)) this.#report('warn', key, `${labelOf(row)} is ${noRoom}`);
      this.#refused.set(key, row);
      return;
    }
    if (check && labelOf(check.row) === labelOf(row)) {
      check.row = row;
    } else {
      check?.server[Symbol.dispose]();
      this.#checks.set(port, { row, server: this.#open(row) });
    }
    this.#refused.delete(key);
    this.#ports.set(key, port);
  }

  /** Ends the health check of a row that was removed. */
  delete(rowKey: string): void {
    this.#refused.delete(rowKey);
    const port = this.#ports.get(rowKey);
    if (port === undefined) return;
    this.#ports.delete(rowKey);
    const check = this.#checks.get(port);
    if (check?.row.key !== rowKey) return;
    check.server[Symbol.dispose]();
    this.#checks.delete(port);
    const [waiting] = this.#refused.values();
    if (!waiting) return;
    this.#refused.delete(waiting.key);
    this.set(waiting);
  }

  [Symbol.dispose](): void {
    for (const { server } of this.#checks.values()) server[Symbol.dispose]();
    this.#checks.clear();
  }

  #open(row: CheckedRow): HttpServer {
    const { platform } = this.#options;
    const { port } = row.healthCheck;
    const name = labelOf(row);
    return new HttpServer(platform, {
      name,
      limits,
      address: `:${port}`,
      handler: () => this.#answer(port),
      onChange: (problem) =>
        problem === undefined
          ? this.#report('info', row.key, `${name} is served on port ${port} now`)
          : this.#report('warn', row.key, problem),
    });
  }

  #answer(port: number): HttpResponse | undefined {
    const check = this.#checks.get(port);
    return check && healthCheckResponse(check.row, this.#options.isHealthy());
  }

  #report(level: 'info' | 'warn', rowKey: string, message: string): void {
    this.#options.events.add(level, level === 'warn' ? 'problem' : 'agent', rowKey, message);
  }
}

const noRoom = 'not served: the agent serves no more ports';

function labelOf({ namespace, name }: ServiceRow): string {
  return ownText(`health check of ${namespace}/${name}`);
}

function isChecked(row: ServiceRow): row is CheckedRow {
  return row.healthCheck !== undefined;
}

/** Returns the answer of kube-proxy: its fields, its status, and the weight that some load balancers use. */
export function healthCheckResponse(
  { namespace, name, healthCheck: { localEndpoints } }: CheckedRow,
  serviceProxyHealthy: boolean,
): HttpResponse {
  const body = { service: { namespace, name }, localEndpoints, serviceProxyHealthy };
  return {
    status: localEndpoints > 0 && serviceProxyHealthy ? 200 : 503,
    type: 'application/json',
    fields: { 'X-Load-Balancing-Endpoint-Weight': `${localEndpoints}` },
    body: `${JSON.stringify(body)}\n`,
  };
}
