import type { Component } from 'svelte';
import type { View } from '../page/url.ts';
import ChangesView from './changes/ChangesView.svelte';
import DropsView from './drops/DropsView.svelte';
import FlowsView from './flows/FlowsView.svelte';
import MapView from './map/MapView.svelte';
import NodesView from './nodes/NodesView.svelte';
import type { ViewProps } from './view.ts';
import WorkloadView from './workload/WorkloadView.svelte';

/** The component of each view. */
export const viewComponents: Readonly<Record<View, Component<ViewProps>>> = {
  map: MapView,
  drops: DropsView,
  changes: ChangesView,
  flows: FlowsView,
  nodes: NodesView,
  workload: WorkloadView,
  pod: WorkloadView,
  service: WorkloadView,
  outside: WorkloadView,
};
