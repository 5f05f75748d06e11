import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

export default defineConfig({
  base: './',
  plugins: [react()],
  // The media client is most of the bundle and is needed at once; splitting it would only add round trips.
  build: { chunkSizeWarningLimit: 2_000 },
});
