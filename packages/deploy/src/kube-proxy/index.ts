export { removeLeftovers } from './removal.ts';
export { runningKubeProxy } from './running.ts';
export { runTool } from './tools.ts';
