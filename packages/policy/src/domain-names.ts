import type { PolicyRule } from './rows.ts';

/**
 * Returns the rules of each name that rules have: those that have the name itself, and those with a wider pattern
 * that covers it, so that the longest matching pattern has all rules of a host. A pattern `*.example.com` stands
 * for all names below example.com but not for example.com (network-policy-api, DomainName).
 */
export function rulesOfNames(rules: Iterable<PolicyRule>): Map<string, ReadonlySet<PolicyRule>> {
  const own = new Map<string, PolicyRule[]>();
  for (const rule of rules) {
    for (const name of rule.domainNames) {
      const list = own.get(name);
      if (list) list.push(rule);
      else own.set(name, [rule]);
    }
  }
  const merged = new Map<string, ReadonlySet<PolicyRule>>();
  for (const name of own.keys()) {
    merged.set(
      name,
      new Set([name, ...widerPatterns(name)].flatMap((each) => own.get(each) ?? [])),
    );
  }
  return merged;
}

/** Returns true if a name or pattern of a rule has a name, or has all names of another pattern. */
export function coversName(pattern: string, name: string): boolean {
  return pattern === name || (pattern.startsWith('*.') && name.endsWith(pattern.slice(1)));
}

/** Returns the patterns that cover a name or pattern, from the narrowest on. */
export function widerPatterns(name: string): string[] {
  const labels = name.replace(/^\*\./, '').split('.');
  return labels.slice(1).map((_, i) => `*.${labels.slice(1 + i).join('.')}`);
}
