import { createHash } from 'node:crypto';
import type { ClusterEvent } from '@heddle/web/contract';
import { podOfDeployment } from './ends.ts';
import type { RelayFlow, Workload } from './model.ts';

/** Events beyond this number push out the oldest. */
const eventsMax = 5000;
/** A repeated event within this time is the same one, in milliseconds. */
const repeatMs = 600_000;
const workloadsMax = 20_000;

/** Changes of the cluster, as far as flows and connections to nodes show them. */
export class EventLog {
  readonly #events: ClusterEvent[] = [];
  readonly #templates = new Map<Workload, string>();
  readonly #lastOf = new Map<string, number>();

  /** The events, oldest first. */
  get all(): readonly ClusterEvent[] {
    return this.#events;
  }

  /** Notes an event, unless the same was noted within the last ten minutes. */
  note(at: number, lane: ClusterEvent['lane'], subject: string, text: string): void {
    const key = `${lane} ${subject} ${text}`;
    if (at - (this.#lastOf.get(key) ?? Number.NEGATIVE_INFINITY) < repeatMs) return;
    if (this.#lastOf.size > eventsMax) this.#lastOf.clear();
    this.#lastOf.set(key, at);
    this.noteAlways(at, lane, subject, text);
  }

  noteAlways(at: number, lane: ClusterEvent['lane'], subject: string, text: string): void {
    const id = createHash('sha256').update(`${at} ${lane} ${subject} ${text}`).digest('base64url');
    this.#events.push({ id: id.slice(0, 12), at, lane, subject, text });
    if (this.#events.length > eventsMax) this.#events.shift();
  }

  /** Notes what a flow shows: a pod of a new template, and a service that lost its last endpoint. */
  observe(flow: RelayFlow, time: number): void {
    this.#observePod(flow.from.workload, flow.from.pod, time);
    this.#observePod(flow.to.workload, flow.to.pod, time);
    if (flow.verdict === 'refused' && flow.service !== '') {
      this.note(time, 'service', flow.service, `The service ${flow.service} refuses connections.`);
    }
  }

  #observePod(workload: Workload, pod: string | undefined, time: number): void {
    if (pod === undefined || workload.kind !== 'Deployment') return;
    const template = podOfDeployment.exec(pod)?.[2];
    if (template === undefined) return;
    const known = this.#templates.get(workload);
    if (known === template) return;
    if (known === undefined && this.#templates.size >= workloadsMax) return;
    this.#templates.set(workload, template);
    if (known === undefined) return;
    const subject = `${workload.namespace}/${workload.name}`;
    this.note(
      time,
      'rollout',
      subject,
      `A rollout of ${subject} began: its pods have the template ${template}.`,
    );
  }
}
