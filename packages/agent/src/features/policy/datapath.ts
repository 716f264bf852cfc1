import type { PolicyTables, Verdict } from '@heddle/datapath';

export type { NumberedRule, Verdict } from '@heddle/datapath';

/** The part of the datapath that enforces network policies; both are undefined where they are off. */
export interface PolicyDatapath {
  readonly policy:
    | Pick<
        PolicyTables,
        | 'attach'
        | 'attached'
        | 'denied'
        | 'deniedByDefault'
        | 'detach'
        | 'enable'
        | 'isProgrammed'
        | 'problemOf'
        | 'program'
        | 'release'
        | 'retry'
        | 'ruleAt'
        | 'rules'
        | 'setComplete'
        | 'setListener'
        | 'setResolvers'
        | 'sizes'
        | 'take'
        | 'whenProgrammed'
        | 'wouldDeny'
        | 'wouldDenyByDefault'
      >
    | undefined;
  readonly verdicts: { watch(onVerdict: (verdict: Verdict) => void): Disposable } | undefined;
}
