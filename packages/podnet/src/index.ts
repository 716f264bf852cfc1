export { prepareNamespace } from './namespace.ts';
export {
  createPodInterface,
  gateway,
  type PodInterface,
  removePodInterface,
} from './pod-interface.ts';
