import { defineConfig } from "vite";

// The built page is embedded in the Go binary and served under a policy that allows no inline script or style.
export default defineConfig({
  build: { assetsInlineLimit: 0, modulePreload: { polyfill: false }, target: "es2022" },
  // For `npm run dev`: a console that runs answers the API.
  server: { proxy: { "/api": "http://127.0.0.1:8090" } },
});
