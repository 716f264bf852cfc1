import type { HealthCheck } from '@heddle/model';
import type { Platform } from '@heddle/sys';
import type { HttpResponse } from './server/http.ts';
import { HttpServer } from './server/http-server.ts';

export interface HealthCheckOptions {
  /** Whether what this node serves is up to date; load balancers leave it otherwise. */
  readonly isHealthy: () => boolean;
  /** Hears a sentence when a port can't be listened on. `service` is `namespace/name`. */
  readonly onProblem: (service: string, problem: string) => void;
}

interface Served {
  readonly server: HttpServer;
  /** Key of the service that has the port. */
  readonly service: string;
  check: HealthCheck;
}

/** Serves the healthCheckNodePorts of services, as kube-proxy does: load balancers ask there. */
export class HealthCheckServers implements Disposable {
  readonly #platform: Platform;
  readonly #options: HealthCheckOptions;
  /** By port. */
  readonly #served = new Map<number, Served>();

  constructor(platform: Platform, options: HealthCheckOptions) {
    this.#platform = platform;
    this.#options = options;
  }

  /** Ports that are served. */
  get ports(): number[] {
    return [...this.#served.keys()];
  }

  /** Serves exactly these checks, which are by service. Of two with one port, the first stays. */
  sync(checks: ReadonlyMap<string, HealthCheck>): void {
    for (const [port, { server, service }] of this.#served) {
      if (checks.get(service)?.port === port) continue;
      server[Symbol.dispose]();
      this.#served.delete(port);
    }
    for (const [service, check] of checks) {
      const held = this.#served.get(check.port);
      if (!held) this.#serve(service, check);
      else if (held.service === service) held.check = check;
    }
  }

  [Symbol.dispose](): void {
    for (const { server } of this.#served.values()) server[Symbol.dispose]();
    this.#served.clear();
  }

  #serve(service: string, check: HealthCheck): void {
    const { isHealthy, onProblem } = this.#options;
    const served: Served = {
      service,
      check,
      server: new HttpServer(this.#platform, {
        name: `health check of ${service}`,
        address: `:${check.port}`,
        handler: () => answer(served.check, isHealthy()),
        onChange: (problem) => {
          if (problem !== undefined) onProblem(service, problem);
        },
      }),
    };
    this.#served.set(check.port, served);
  }
}

/** What kube-proxy answers, whatever the path; load balancers look at the status, or at the weight. */
export function answer(
  { namespace, name, localEndpoints }: HealthCheck,
  isHealthy: boolean,
): HttpResponse {
  const body = {
    service: { namespace, name },
    localEndpoints,
    serviceProxyHealthy: isHealthy,
  };
  return {
    status: localEndpoints > 0 && isHealthy ? 200 : 503,
    type: 'application/json',
    body: `${JSON.stringify(body)}\n`,
    fields: { 'X-Load-Balancing-Endpoint-Weight': `${localEndpoints}` },
  };
}
