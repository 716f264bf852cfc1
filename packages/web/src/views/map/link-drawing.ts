import { toneTokens } from './look.ts';
import type { DrawnLook } from './looks.ts';

type Tokens = Pick<CSSStyleDeclaration, 'getPropertyValue'>;

/** Returns the opacity of a look as a number. */
export function opacityOf({ opacity }: Pick<DrawnLook, 'opacity'>, tokens: Tokens): number {
  return opacity === 'thread' ? Number(tokens.getPropertyValue('--thread-opacity')) : opacity;
}

/** Returns the colour of a look. */
export function colourOf({ tone }: Pick<DrawnLook, 'tone'>, tokens: Tokens): string {
  return tokens.getPropertyValue(`--${toneTokens[tone]}`).trim();
}

/** Draws links on a canvas that is measured in pixels of the page. */
export function drawLinks(
  context: CanvasRenderingContext2D,
  looks: readonly DrawnLook[],
  tokens: Tokens,
): void {
  for (const look of looks) {
    context.globalAlpha = opacityOf(look, tokens);
    context.strokeStyle = colourOf(look, tokens);
    context.lineWidth = look.width;
    context.setLineDash((look.dash ?? '').split(' ').filter(Boolean).map(Number));
    context.stroke(new Path2D(look.path));
    if (look.hasHead) drawHead(context, look, colourOf(look, tokens));
  }
}

function drawHead(
  context: CanvasRenderingContext2D,
  { route, tone }: DrawnLook,
  colour: string,
): void {
  const last = route.curves.at(-1)!;
  const [x, y] = last[3];
  const before = last[2][0] === x ? last[0][0] : last[2][0];
  const back = x >= before ? -7 : 7;
  context.setLineDash([]);
  context.beginPath();
  context.moveTo(x + back, y - 3);
  context.lineTo(x, y);
  context.lineTo(x + back, y + 3);
  context.fillStyle = colour;
  if (tone === 'forwarded') context.stroke();
  else context.fill();
}

/** Returns the key of the uppermost link at a point. */
export function linkAt(
  context: CanvasRenderingContext2D,
  looks: readonly DrawnLook[],
  x: number,
  y: number,
): string | undefined {
  context.lineWidth = 8;
  context.setLineDash([]);
  const scale = devicePixelRatio;
  const found = looks.findLast(
    (look) =>
      look.opacity !== 0.1 &&
      look.opacity !== 0.08 &&
      context.isPointInStroke(new Path2D(look.path), x * scale, y * scale),
  );
  return found?.key;
}
