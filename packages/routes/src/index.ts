export { RangeMap } from './range-map.ts';
export { type RemoteNodeChanges, RemoteNodes, type RemoteNodesOptions } from './remote-nodes.ts';
export type { NodePath, RemoteNode, Routing, Underlay, UnderlayRoute } from './rows.ts';
