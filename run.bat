@echo off
rem Set up on the first run, then start the server. Options: --host HOST --port PORT --config-dir FOLDER.
python "%~dp0install_core.py" || exit /b 1
"%~dp0venv\Scripts\python.exe" "%~dp0lollms_server\main.py" %*
