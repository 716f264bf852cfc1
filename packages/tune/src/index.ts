export { applyChanges, distinctChanges, type Outcome, revertChanges } from './apply.ts';
export {
  type Change,
  type Check,
  commandOf,
  type Finding,
  keyOf,
  type Result,
  type State,
  type Target,
} from './check.ts';
export { checks, examine } from './examine.ts';
export { type Facts, type Known, valueIfKnown } from './facts.ts';
export { defaultJournal, type Journal, type JournalStore, journalFile } from './journal.ts';
export { type AgentAnswers, inAgentNamespace, readFacts } from './read/node.ts';
export { nodeSettings, type Settings } from './settings.ts';
