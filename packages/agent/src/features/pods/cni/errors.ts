/** Error codes of the CNI specification, and from 100 on of this plug-in. */
export const cniCodes = {
  version: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  environment: 4,
  decode: 6,
  config: 7,
  tryAgain: 11,
  unavailable: 50,
  /** The agent starts. The plug-in reports success if the node was ready a moment ago. */
  starting: 50,
  /** The pod interface could not be created or programmed. */
  failed: 100,
  /** The pod has an interface of that name, or the node's interface belongs to another pod. */
  taken: 101,
  /** The pod's interface is not what ADD has made. */
  changed: 102,
} as const;

/** A failure that the container runtime receives. The message reads `verb noun: cause`. */
export class CniError extends Error {
  override readonly name = 'CniError';
  readonly kind: keyof typeof cniCodes;
  readonly details: string;

  constructor(kind: keyof typeof cniCodes, message: string, details = '') {
    super(message);
    this.kind = kind;
    this.details = details;
  }

  get code(): number {
    return cniCodes[this.kind];
  }
}
