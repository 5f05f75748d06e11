/** Drawn people for the fake cameras of the screenshot: Chromium's own test picture shows nothing of a meeting. */

export type PortraitColors = {
  wall: string;
  wallShade: string;
  skin: string;
  hair: string;
  shirt: string;
  plant: string;
};

export type Portrait = { hair: 'long' | 'short'; colors: PortraitColors };

export const portraits: Record<'ana' | 'ben', Portrait> = {
  ana: {
    hair: 'long',
    colors: {
      wall: '#e9dcc9',
      wallShade: '#d9c7ae',
      skin: '#e7b48f',
      hair: '#4a2f27',
      shirt: '#2f6f73',
      plant: '#5d8a5a',
    },
  },
  ben: {
    hair: 'short',
    colors: {
      wall: '#c9d6e3',
      wallShade: '#aebfd0',
      skin: '#b67b56',
      hair: '#1f1a1a',
      shirt: '#c8553d',
      plant: '#3f7262',
    },
  },
};

/** A 1280×720 SVG document. */
export function drawPortrait({ hair, colors }: Portrait): string {
  const back =
    hair === 'long' ? `<path fill="${colors.hair}" d="M500 330c0-120 60-190 140-190s140 70 140 190v190H500z"/>` : '';
  const fringe =
    hair === 'long'
      ? `<path fill="${colors.hair}" d="M530 330c0-110 40-170 110-170s110 60 110 170c-30-50-60-90-90-105-40 45-90 75-130 105z"/>`
      : `<path fill="${colors.hair}" d="M534 330c-14-130 40-185 108-185s120 60 104 185c-10-30-14-60-30-84-50 14-106 14-150 0-16 22-22 52-32 84z"/>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="1280" height="720" viewBox="0 0 1280 720">
    <defs><linearGradient id="wall" x1="0" y1="0" x2="1" y2="1">
      <stop offset="0" stop-color="${colors.wall}"/><stop offset="1" stop-color="${colors.wallShade}"/>
    </linearGradient></defs>
    <rect width="1280" height="720" fill="url(#wall)"/>
    <rect x="820" y="90" width="190" height="230" rx="6" fill="#fff" opacity=".55"/>
    <rect x="838" y="108" width="154" height="194" rx="3" fill="${colors.plant}" opacity=".35"/>
    <circle cx="900" cy="200" r="36" fill="${colors.shirt}" opacity=".45"/>
    <g fill="${colors.plant}"><path d="M330 560c-70-40-90-130-60-210 40 50 70 120 60 210z"/>
      <path d="M335 560c-10-90 30-170 90-200 20 80-20 160-90 200z" opacity=".8"/>
      <path d="M332 560c-30-110-10-210 10-260 30 70 30 180-10 260z" opacity=".65"/></g>
    <path fill="#8b5e3c" d="M280 555h110l-16 165h-78z"/>
    ${back}
    <path fill="${colors.shirt}" d="M380 720c8-130 90-190 180-205h160c90 15 172 75 180 205z"/>
    <path fill="${colors.skin}" d="M590 440h100v95c0 30-100 30-100 0z"/>
    <path fill="#000" opacity=".12" d="M590 470c30 26 70 26 100 0v24c-30 24-70 24-100 0z"/>
    <ellipse cx="640" cy="340" rx="106" ry="136" fill="${colors.skin}"/>
    ${fringe}
    <g fill="#22191a"><ellipse cx="600" cy="345" rx="9" ry="11"/><ellipse cx="680" cy="345" rx="9" ry="11"/></g>
    <path fill="none" stroke="#22191a" stroke-width="6" stroke-linecap="round" opacity=".7" d="M582 316c12-9 26-9 36-2M662 314c12-7 26-7 36 2"/>
    <path fill="none" stroke="#8a4b3c" stroke-width="6" stroke-linecap="round" d="M604 412c22 20 50 20 72 0"/>
    <path fill="none" stroke="#000" stroke-width="5" stroke-linecap="round" opacity=".18" d="M641 352c10 18 8 28-6 32"/>
  </svg>`;
}
