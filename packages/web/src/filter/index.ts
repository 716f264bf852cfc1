export {
  type HubbleFilter,
  type HubbleFilters,
  hubbleCommand,
  hubbleFilters,
} from './hubble-filter.ts';
export {
  compileFilter,
  compileWord,
  type FilterEnd,
  type FilterMatch,
  type FilterSubject,
  type FlowFacts,
  globMatch,
  isOfFlows,
} from './match.ts';
export { editDistance, nearest } from './nearest.ts';
export {
  type Filter,
  type FilterWord,
  firstError,
  keysWith,
  parseFilter,
  wordAt,
} from './parse.ts';
export { reasonNames, reasonNumber, reasonWord, reasonWords, refusalReasons } from './reasons.ts';
export { durationOf, type FilterKey, filterKeys, type WordError } from './values.ts';
export { replaceWord, splitWords, withoutWord, withWord, wordText } from './words.ts';
