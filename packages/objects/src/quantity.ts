// Reads quantities as Kubernetes writes them (apimachinery, pkg/api/resource): a decimal number with a
// decimal suffix (k, M, ...), a binary one (Ki, Mi, ...), or an exponent of ten (e3, E-3).

const decimal = ['n', 'u', 'm', '', 'k', 'M', 'G', 'T', 'P', 'E'] as const;
const binary = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'] as const;
/** Longer texts are no quantities that somebody means. */
const maxLength = 64;

/**
 * Returns the value of a quantity such as `10M`, `1.5Gi` or `1e6`, rounded up to a whole number as
 * Kubernetes does, or undefined for another text.
 */
export function readQuantity(text: string): bigint | undefined {
  if (text.length > maxLength) return undefined;
  const found = /^([+-]?)(\d*)(?:\.(\d*))?(?:([numkMGTPE]?|[KMGTPE]i)|[eE]([+-]?\d{1,3}))$/.exec(
    text,
  );
  if (!found) return undefined;
  const [, sign, whole = '', fraction = '', suffix = '', exponent] = found;
  if (whole === '' && fraction === '') return undefined;
  const twos = Math.max(binary.indexOf(suffix as never), 0) * 10;
  const thousands = exponent === undefined ? decimal.indexOf(suffix as never) : -1;
  const tens = exponent !== undefined ? Number(exponent) : thousands < 0 ? 0 : (thousands - 3) * 3;
  const digits = BigInt(whole + fraction) << BigInt(twos);
  const scale = tens - fraction.length;
  const value =
    scale >= 0 ? digits * 10n ** BigInt(scale) : divided(digits, 10n ** BigInt(-scale), sign);
  return sign === '-' ? -value : value;
}

/** Returns the quotient of an amount whose sign is apart, rounded up as a number with that sign. */
function divided(amount: bigint, by: bigint, sign: string | undefined): bigint {
  const isRoundedUp = sign !== '-' && amount % by > 0n;
  return amount / by + (isRoundedUp ? 1n : 0n);
}
