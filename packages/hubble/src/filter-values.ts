export { FilterError } from './filters/errors.ts';
export {
  type FlowLabel,
  type LabelMatch,
  labelSelector,
  parseLabel,
} from './filters/label-selector.ts';
export { anyAddress } from './filters/values.ts';
