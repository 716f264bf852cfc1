import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect';
import {
  type Health,
  HealthCheckResponse_ServingStatus,
} from '../generated/grpc/health/v1/health_pb.js';
import { Waiting } from '../waiting.ts';

/** The name by which Hubble's clients ask for the health of an observer. */
export const observerHealthName = 'hubble.server.Observer';

const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = HealthCheckResponse_ServingStatus;

/** The state of the services of a server, for gRPC's health protocol. */
export class HealthState {
  readonly #names: ReadonlySet<string>;
  readonly #waiting = new Waiting();
  #isServing = true;

  /** `names` are the services; the server as a whole has the empty name. */
  constructor(names: readonly string[]) {
    this.#names = new Set(['', ...names]);
  }

  /** Sets whether the services can answer. */
  set(isServing: boolean): void {
    if (isServing === this.#isServing) return;
    this.#isServing = isServing;
    this.#waiting.wake();
  }

  /** Returns the state of a service. */
  of(name: string): HealthCheckResponse_ServingStatus {
    if (!this.#names.has(name)) return SERVICE_UNKNOWN;
    return this.#isServing ? SERVING : NOT_SERVING;
  }

  /** Resolves at the next change, or when `signal` aborts. */
  changed(signal: AbortSignal): Promise<void> {
    return this.#waiting.changed(signal);
  }
}

/** Returns the service of gRPC's health protocol. */
export function healthService(state: HealthState): ServiceImpl<typeof Health> {
  return {
    check({ service }) {
      const status = state.of(service);
      if (status === SERVICE_UNKNOWN) {
        throw new ConnectError(`there is no service "${service}"`, Code.NotFound);
      }
      return { status };
    },
    async *watch({ service }, { signal }) {
      for (let last: number | undefined; !signal.aborted; await state.changed(signal)) {
        const status = state.of(service);
        if (status !== last) yield { status };
        last = status;
      }
    },
  };
}
