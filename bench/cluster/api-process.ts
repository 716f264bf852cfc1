// The API server of the benchmark, scripted, in a process of its own: `node api-process.ts OPTIONS`
// (JSON, ApiServerOptions). Answers each Order in turn; says its URL first.
import { subscribe } from 'node:diagnostics_channel';
import { ApiServer } from '@heddle/kube/testing/api-server';
import { makeNode } from '@heddle/kube/testing/cluster-objects';
import type { WrittenObject } from '@heddle/kube/testing/object-store';
import { markerEndpoints, markerMs, type Sighting } from './lag.ts';
import { clusterService, clusterSlice } from './objects.ts';

export type Order =
  /** Makes services with their slices, and the node. */
  | {
      readonly do: 'fill';
      readonly services: number;
      readonly endpoints: number;
      readonly node: string;
    }
  /** Makes objects, or changes them. Answers with the moment before the last one. */
  | { readonly do: 'put'; readonly objects: readonly WrittenObject[] }
  /** Gives a service other endpoints. Answers with the moment. */
  | {
      readonly do: 'change';
      readonly service: number;
      readonly endpoints: number;
      readonly generation: number;
    }
  /** Changes services at a steady pace, one of them now and then: the marker. Answers with Churned. */
  | ({ readonly do: 'churn' } & Churn)
  /** Answers with the moment of the first connection since the last time; 0: none. */
  | { readonly do: 'connected' };

export interface Churn {
  readonly perSecond: number;
  readonly seconds: number;
  /** Services that take turns, from number 1 on, each for a burst: as when it is rolled out. */
  readonly services: number;
  /** Changes of one service, one right after the other. */
  readonly burst: number;
  readonly endpoints: number;
}

export interface Churned {
  readonly changes: number;
  /** Each change of the marker (service 0), which then has `endpoints`. */
  readonly markers: readonly Sighting[];
}

/** The interval between bursts of changes. */
const burstMs = 5;

const server = await ApiServer.start(JSON.parse(process.argv[2]!));
let connectedNs = 0;
subscribe('net.server.socket', () => {
  if (connectedNs === 0) connectedNs = nowNs();
});
process.on('message', async (order: Order) => {
  process.send!(await obey(order));
});
process.on('disconnect', () => process.exit());
process.send!(server.url);

async function obey(order: Order): Promise<unknown> {
  switch (order.do) {
    case 'fill': {
      server.set(makeNode(order.node));
      for (let n = 0; n < order.services; n++) {
        server.set(clusterService(n));
        server.set(clusterSlice(n, order.endpoints));
      }
      return null;
    }
    case 'put': {
      let atNs = 0;
      for (const object of order.objects) {
        atNs = nowNs();
        server.set(object);
      }
      return atNs;
    }
    case 'change': {
      const atNs = nowNs();
      server.set(clusterSlice(order.service, order.endpoints, order.generation));
      return atNs;
    }
    case 'churn':
      return churn(order);
    case 'connected': {
      const atNs = connectedNs;
      connectedNs = 0;
      return atNs;
    }
  }
}

async function churn({ perSecond, seconds, services, burst, endpoints }: Churn): Promise<Churned> {
  const markers: Sighting[] = [];
  const start = nowNs();
  let changes = 0;
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      const elapsedMs = (nowNs() - start) / 1e6;
      const due = Math.min(seconds * 1000, elapsedMs) * (perSecond / 1000);
      for (; changes + burst <= due; changes += burst) {
        const n = 1 + ((changes / burst) % services);
        for (let i = 0; i < burst; i++) server.set(clusterSlice(n, endpoints, 1 + changes + i));
      }
      if (elapsedMs >= markers.length * markerMs) {
        const count = 1 + (markers.length % markerEndpoints);
        markers.push({ atNs: nowNs(), endpoints: count });
        server.set(clusterSlice(0, count));
      }
      if (elapsedMs < seconds * 1000) return;
      clearInterval(timer);
      resolve({ changes: changes + markers.length, markers });
    }, burstMs);
  });
}

/** Returns a time of CLOCK_MONOTONIC, which all processes share. */
function nowNs(): number {
  return Number(process.hrtime.bigint());
}
